/** Sizes of reduced images, and faces in coordinates of the original image. */

import type { Face, Frame, Quality } from './backend';

export interface Size {
  width: number;
  height: number;
}

export interface ReducedSize extends Size {
  /** Factor from coordinates of the reduced image to those of the original one. */
  scale: number;
}

/** An image or a video frame, which may be reduced. */
export interface DecodedImage {
  bitmap: ImageBitmap;
  /** Size of the original image. */
  size: Size;
  /** Factor from coordinates of the bitmap to those of the original image. */
  scale: number;
}

/** Return the size of an image whose long side is reduced to a maximum; no side is below one pixel. */
export function reduceSize({ width, height }: Size, maxSide: number): ReducedSize {
  const scale = Math.max(1, Math.max(width, height) / maxSide);
  const reduce = (side: number) => Math.max(1, Math.round(side / scale));
  return { width: reduce(width), height: reduce(height), scale };
}

/** Scale a face to the coordinates of the original image, rounded to tenths of a pixel. */
export function scaleFace(face: Face, scale: number): Face {
  if (scale === 1) return face;
  const enlarge = (pixels: number) => Math.round(10 * pixels * scale) / 10;
  const quality: Quality | null = face.quality && { ...face.quality, size_px: enlarge(face.quality.size_px) };
  return {
    ...face,
    bbox_xyxy: face.bbox_xyxy.map(enlarge) as Face['bbox_xyxy'],
    landmarks_xy: face.landmarks_xy.map((point) => point.map(enlarge) as Face['landmarks_xy'][number]),
    quality,
  };
}

/** Convert the result for a reduced image to the coordinates of the original one. */
export function scaleFrame(frame: Frame, { size, scale }: DecodedImage): Frame {
  return { ...frame, ...size, faces: frame.faces.map((face) => scaleFace(face, scale)) };
}
