/**
 * Affine warp, subsampling and rotation, bit-exact ports of `mien/imaging.py`.
 *
 * Images are RGBA, as a canvas returns them; the alpha channel is ignored.
 */

import { clip, determinant, invert, round, type Transform, transformPoint } from './geometry.ts';

export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** (height, width, 4) */
  readonly data: Uint8ClampedArray;
}

export function blank(width: number, height: number): Pixels {
  return { width, height, data: new Uint8ClampedArray(4 * width * height) };
}

/** The transform cannot be applied, for example because the landmarks are degenerate. */
export class WarpError extends Error {}

/**
 * Warp an image by a source-to-target transform to `width` x `height` pixels.
 *
 * When shrinking, blocks of k x k pixels are averaged first (k is the rounded reduction); interpolation is bilinear and
 * the image border is replicated. Throws a WarpError when the image would shrink below one pixel.
 */
export function warp(image: Pixels, matrix: Transform, width: number, height: number): Pixels {
  const scale = Math.sqrt(Math.abs(determinant(matrix)));
  if (!(scale * Math.max(image.width, image.height) >= 1)) {
    throw new WarpError('the transform shrinks the image below one pixel');
  }
  const inverse = invert(matrix);
  const k = Math.max(1, round(1 / scale));
  const [x1, y1, x2, y2] = sourceRegion(image, inverse, width, height, k);
  const patch = k === 1 ? image : averageBlocks(image, x1, y1, x2, y2, k);
  const [left, top] = k === 1 ? [0, 0] : [x1 / k, y1 / k];
  const [a, b, c, d, e, f] = inverse.map((value) => value / k);
  return sample(patch, [a, b, c - left, d, e, f - top], width, height);
}

/** Return the source region of a warp with a border of k pixels; it starts at multiples of k. */
function sourceRegion(image: Pixels, inverse: Transform, width: number, height: number, k: number): number[] {
  const corners = (
    [
      [0, 0],
      [width, 0],
      [width, height],
      [0, height],
    ] as const
  ).map((corner) => transformPoint(inverse, corner));
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  const start = (min: number, limit: number) => Math.floor(clip(min, 0, limit - 1) / k) * k;
  const x1 = start(Math.floor(Math.min(...xs)) - k, image.width);
  const y1 = start(Math.floor(Math.min(...ys)) - k, image.height);
  const x2 = clip(Math.ceil(Math.max(...xs)) + k, x1 + 1, Math.max(image.width, x1 + 1));
  const y2 = clip(Math.ceil(Math.max(...ys)) + k, y1 + 1, Math.max(image.height, y1 + 1));
  return [x1, y1, x2, y2];
}

/** Average every k x k block of a region to one pixel; the last column and row are replicated. */
export function averageBlocks(image: Pixels, x1: number, y1: number, x2: number, y2: number, k: number): Pixels {
  const output = blank(Math.ceil((x2 - x1) / k), Math.ceil((y2 - y1) / k));
  const sums = new Uint32Array(4 * output.width);
  for (let row = 0, index = 0; row < output.height; row++) {
    sums.fill((k * k) >> 1);
    for (let step = 0; step < k; step++) {
      addRow(sums, image, Math.min(y1 + row * k + step, y2 - 1), x1, x2, k);
    }
    for (const sum of sums) output.data[index++] = Math.floor(sum / (k * k));
  }
  return output;
}

/** Add one image row to the sums of the blocks that it crosses. */
function addRow(sums: Uint32Array, image: Pixels, y: number, x1: number, x2: number, k: number): void {
  for (let block = 0, x = x1; block < sums.length; block += 4) {
    for (let step = 0; step < k; step++, x++) {
      const from = 4 * (y * image.width + Math.min(x, x2 - 1));
      sums[block] += image.data[from];
      sums[block + 1] += image.data[from + 1];
      sums[block + 2] += image.data[from + 2];
    }
  }
}

/** Sample an image at the positions given by a target-to-source transform, with bilinear interpolation. */
function sample(image: Pixels, [a, b, c, d, e, f]: number[], width: number, height: number): Pixels {
  const output = blank(width, height);
  const from = image.data;
  const to = output.data;
  const right = image.width - 1;
  const bottom = image.height - 1;
  for (let row = 0, index = 0; row < height; row++) {
    for (let column = 0; column < width; column++, index += 4) {
      const x = a * (column + 0.5) + b * (row + 0.5) + c - 0.5;
      const y = d * (column + 0.5) + e * (row + 0.5) + f - 0.5;
      const x0 = Math.floor(x) | 0;
      const y0 = Math.floor(y) | 0;
      const dx = x - x0;
      const dy = y - y0;
      const column0 = 4 * clipIndex(x0, right);
      const column1 = 4 * clipIndex(x0 + 1, right);
      const row0 = 4 * image.width * clipIndex(y0, bottom);
      const row1 = 4 * image.width * clipIndex(y0 + 1, bottom);
      for (let channel = 0; channel < 3; channel++) {
        const upper = mix(from[row0 + column0 + channel], from[row0 + column1 + channel], dx);
        const lower = mix(from[row1 + column0 + channel], from[row1 + column1 + channel], dx);
        to[index + channel] = mix(upper, lower, dy) | 0;
      }
      to[index + 3] = 255;
    }
  }
  return output;
}

function clipIndex(index: number, last: number): number {
  return index < 0 ? 0 : Math.min(index, last);
}

function mix(a: number, b: number, fraction: number): number {
  return a + (b - a) * fraction;
}

/** Keep the first pixel of every `step` x `step` block. */
export function subsample(image: Pixels, step: number): Pixels {
  if (step === 1) return image;
  const output = blank(Math.ceil(image.width / step), Math.ceil(image.height / step));
  const from = new Uint32Array(image.data.buffer, image.data.byteOffset, image.width * image.height);
  const to = new Uint32Array(output.data.buffer);
  for (let y = 0, index = 0; y < image.height; y += step) {
    for (let x = 0; x < image.width; x += step) to[index++] = from[y * image.width + x];
  }
  return output;
}

/** Rotate an image counterclockwise by one or three quarter turns. */
export function rotateQuarter({ width, height, data }: Pixels, quarterTurns: 1 | 3): Pixels {
  const rotated = blank(height, width);
  const from = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const to = new Uint32Array(rotated.data.buffer);
  for (let y = 0, index = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      to[index++] = quarterTurns === 1 ? from[x * width + width - 1 - y] : from[(height - 1 - x) * width + y];
    }
  }
  return rotated;
}
