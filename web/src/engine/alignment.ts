/** Aligned face crops for the expression model: port of `mien/faces/alignment.py`. */

import { type Point, similarityTransform } from './geometry.ts';
import { type Pixels, warp } from './imaging.ts';

/** Positions of the five landmarks in a square of side 1, by template. */
export const TEMPLATES: Record<string, Point[]> = {
  ferplus: [
    [0.305, 0.385],
    [0.695, 0.385],
    [0.5, 0.59],
    [0.345, 0.755],
    [0.655, 0.755],
  ],
};

export interface Alignment {
  template: string;
  /** Padding on every side, as a fraction of the template's side. */
  margin: number;
}

const DEFAULT_ALIGNMENT: Alignment = { template: 'ferplus', margin: 0 };

/** Crop a face: upright, centered, `size` x `size` pixels. */
export function alignFace(
  image: Pixels,
  landmarks: readonly Point[],
  size: number,
  alignment = DEFAULT_ALIGNMENT,
): Pixels {
  const { template, margin } = alignment;
  const scale = (fraction: number) => ((fraction + margin) / (1 + 2 * margin)) * size;
  const target = TEMPLATES[template].map(([x, y]): Point => [scale(x), scale(y)]);
  return warp(image, similarityTransform(landmarks, target), size, size);
}
