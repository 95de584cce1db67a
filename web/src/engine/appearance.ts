/** Appearance descriptors that re-identify a face between frames: port of `appearance_descriptor` in `mien/faces/tracking.py`. */

import { alignFace } from './alignment.ts';
import type { Detection } from './detection.ts';
import type { Box, Point } from './geometry.ts';
import { type Pixels, subsample, WarpError } from './imaging.ts';

/** Unit vector of 256 numbers, compared by cosine distance. It cannot recognize a person. */
export type Appearance = number[];

const CROP_SIZE = 16;
const CELLS = 8;
const CELL_SIZE = CROP_SIZE / CELLS;
/** Added to pixel values before the logarithm, to damp noise in dark areas. */
const LOG_OFFSET = 16;

/** Return the appearance descriptor of a face, or null when its landmarks do not allow a crop. */
export function appearanceDescriptor(image: Pixels, { box, landmarks }: Detection): Appearance | null {
  if (!landmarks.flat().every(Number.isFinite)) return null;
  // Large faces are subsampled for speed.
  const step = Math.max(1, Math.floor(boxSize(box) / (3 * CROP_SIZE)));
  const points = landmarks.map(([x, y]): Point => [x / step, y / step]);
  try {
    return describe(alignFace(subsample(image, step), points, CROP_SIZE, { template: 'ferplus', margin: 0.1 }));
  } catch (error) {
    if (error instanceof WarpError) return null;
    throw error;
  }
}

/** Return luminance and chroma of a crop's cells on a logarithmic scale, where illumination is additive. */
function describe(crop: Pixels): Appearance {
  const cells = Array.from({ length: CELLS * CELLS }, (_, cell) =>
    logMeanColor(crop, cell % CELLS, Math.floor(cell / CELLS)),
  );
  const luminance = cells.map((color) => color.reduce((sum, value) => sum + value, 0) / 3);
  const mean = luminance.reduce((sum, value) => sum + value, 0) / luminance.length;
  const chroma = cells.flatMap((color, cell) => color.map((value) => value - luminance[cell]));
  const weight = 5 / Math.sqrt(chroma.length);
  return unit([...unit(luminance.map((value) => value - mean)), ...chroma.map((value) => value * weight)]);
}

function logMeanColor({ data }: Pixels, column: number, row: number): number[] {
  return [0, 1, 2].map((channel) => {
    let sum = 0;
    for (let index = 0; index < CELL_SIZE * CELL_SIZE; index++) {
      const x = column * CELL_SIZE + (index % CELL_SIZE);
      const y = row * CELL_SIZE + Math.floor(index / CELL_SIZE);
      sum += data[4 * (y * CROP_SIZE + x) + channel];
    }
    return Math.log(sum / (CELL_SIZE * CELL_SIZE) + LOG_OFFSET);
  });
}

/** Scale a vector to length 1; a zero vector stays zero. */
export function unit(vector: readonly number[]): number[] {
  const length = Math.max(Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)), 1e-9);
  return vector.map((value) => value / length);
}

/** Return the square root of a box's area; sides count as at least one pixel. */
export function boxSize(box: Box): number {
  return Math.sqrt(Math.max(box[2] - box[0], 1) * Math.max(box[3] - box[1], 1));
}
