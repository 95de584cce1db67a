/** The crop that an expression model sees: `mien/faces/alignment.py` in TypeScript. */

import { similarityTransform, type Point } from './geometry';
import { warp, type Pixels } from './imaging';

/** Where the five landmarks come to lie, in a square of side 1. */
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
  /** Extra room on every side as a share of the template's square. */
  margin: number;
}

export const PLAIN: Alignment = { template: 'ferplus', margin: 0 };

/** Cuts one face out: upright, centred, `size` x `size`. */
export function alignFace(image: Pixels, landmarks: readonly Point[], size: number, alignment = PLAIN): Pixels {
  const { template, margin } = alignment;
  const place = (share: number) => ((share + margin) / (1 + 2 * margin)) * size;
  const target = TEMPLATES[template].map(([x, y]): Point => [place(x), place(y)]);
  return warp(image, similarityTransform(landmarks, target), size, size);
}
