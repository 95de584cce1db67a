/** Sizes of reduced images, and faces in coordinates of the original image. */

import type { Face, Quality } from './backend';

export interface Size {
  width: number;
  height: number;
}

export interface ReducedSize extends Size {
  /** Factor from coordinates of the reduced image to those of the original one. */
  scale: number;
}

/** Return the size of an image whose long side is reduced to a maximum; no side is below one pixel. */
export function reduceSize({ width, height }: Size, maxSide: number): ReducedSize {
  const scale = Math.max(1, Math.max(width, height) / maxSide);
  const reduce = (side: number) => Math.max(1, Math.round(side / scale));
  return { width: reduce(width), height: reduce(height), scale };
}

/** Scale a face to the coordinates of the original image. */
export function scaleFace(face: Face, scale: number): Face {
  if (scale === 1) return face;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const landmarks_xy = face.landmarks_xy.map(([x, y]): [number, number] => [x * scale, y * scale]);
  const quality: Quality | null = face.quality && { ...face.quality, size_px: face.quality.size_px * scale };
  return {
    ...face,
    bbox_xyxy: [left * scale, top * scale, right * scale, bottom * scale],
    landmarks_xy,
    quality,
  };
}
