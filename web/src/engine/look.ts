/** How a face looks, to find it again in the next moment: `face_look` of `mien/faces/tracking.py` in TypeScript. */

import { alignFace } from './alignment';
import type { Found } from './detection';
import type { Box, Point } from './geometry';
import { thin, WarpError, type Pixels } from './imaging';

/** 256 numbers, a vector of length 1; 1 minus the product of two tells faces apart. It is no face recognition. */
export type Look = number[];

const SIDE = 16;
const CELLS = 8;
const BLOCK = SIDE / CELLS;

/** Null where the landmarks lie so that no face can be cut out. */
export function faceLook(image: Pixels, { box, landmarks }: Found): Look | null {
  if (!landmarks.flat().every(Number.isFinite)) return null;
  const step = Math.max(1, Math.floor(boxSize(box) / (3 * SIDE))); // of a large face a part of the pixels will do
  const points = landmarks.map(([x, y]): Point => [x / step, y / step]);
  try {
    return lookOf(alignFace(thin(image, step), points, SIDE, { template: 'ferplus', margin: 0.1 }));
  } catch (error) {
    if (error instanceof WarpError) return null;
    throw error;
  }
}

/** The light parts and the colours of a crop, on a logarithmic scale, so that brighter light only adds to them. */
function lookOf(crop: Pixels): Look {
  const cells = Array.from({ length: CELLS * CELLS }, (_, cell) => cellColour(crop, cell % CELLS, Math.floor(cell / CELLS)));
  const light = cells.map((colour) => colour.reduce((sum, value) => sum + value, 0) / 3);
  const mean = light.reduce((sum, value) => sum + value, 0) / light.length;
  const chroma = cells.flatMap((colour, cell) => colour.map((value) => value - light[cell]));
  const weight = 5 / Math.sqrt(chroma.length);
  return unit([...unit(light.map((value) => value - mean)), ...chroma.map((value) => value * weight)]);
}

function cellColour({ data }: Pixels, column: number, row: number): number[] {
  return [0, 1, 2].map((band) => {
    let sum = 0;
    for (let place = 0; place < BLOCK * BLOCK; place++) {
      const [x, y] = [column * BLOCK + (place % BLOCK), row * BLOCK + Math.floor(place / BLOCK)];
      sum += data[4 * (y * SIDE + x) + band];
    }
    return Math.log(sum / (BLOCK * BLOCK) + 16); // 16 keeps the noise of dark parts down
  });
}

/** The vector at length 1; zero stays zero. */
export function unit(vector: readonly number[]): number[] {
  const length = Math.max(Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)), 1e-9);
  return vector.map((value) => value / length);
}

/** The root of a box's area, at least one pixel a side. */
export function boxSize(box: Box): number {
  return Math.sqrt(Math.max(box[2] - box[0], 1) * Math.max(box[3] - box[1], 1));
}
