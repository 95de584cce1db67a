/**
 * Bilinear, antialiased resize, equal to Pillow's `Image.resize(..., BILINEAR, reducing_gap=2)`.
 *
 * The horizontal pass runs first. Pillow 13 sometimes runs the vertical pass first; a few values then differ by 1.
 */

import { blank, type Pixels } from './imaging';

const REDUCING_GAP = 2;
/** Weights are fixed-point numbers in units of 2 ** -BITS. */
const BITS = 22;

export function resize(image: Pixels, width: number, height: number): Pixels {
  if (image.width === width && image.height === height) return image;
  const factorX = Math.max(1, Math.trunc(image.width / width / REDUCING_GAP));
  const factorY = Math.max(1, Math.trunc(image.height / height / REDUCING_GAP));
  const reduced = factorX > 1 || factorY > 1 ? reduce(image, factorX, factorY) : image;
  const columns = filterWeights(reduced.width, Math.fround(image.width / factorX), width);
  const rows = filterWeights(reduced.height, Math.fround(image.height / factorY), height);
  return resizeVertically(resizeHorizontally(reduced, columns), rows);
}

/** Average every block to one pixel; partial blocks at the right and bottom average the pixels that they have. */
function reduce(image: Pixels, factorX: number, factorY: number): Pixels {
  const output = blank(Math.ceil(image.width / factorX), Math.ceil(image.height / factorY));
  for (let row = 0, index = 0; row < output.height; row++) {
    const y2 = Math.min((row + 1) * factorY, image.height);
    for (let column = 0; column < output.width; column++, index += 4) {
      const x2 = Math.min((column + 1) * factorX, image.width);
      averageBlock(image, column * factorX, row * factorY, x2, y2, output.data, index);
    }
  }
  return output;
}

function averageBlock(
  image: Pixels,
  x1: number,
  y1: number,
  x2: number,
  y2: number,
  to: Uint8ClampedArray,
  index: number,
): void {
  const count = (x2 - x1) * (y2 - y1);
  // Pillow multiplies by a rounded 1 / count.
  const factor = Math.trunc(Math.fround(2 ** 24 / count));
  let red = count >> 1;
  let green = count >> 1;
  let blue = count >> 1;
  for (let y = y1; y < y2; y++) {
    for (let from = 4 * (y * image.width + x1), end = from + 4 * (x2 - x1); from < end; from += 4) {
      red += image.data[from];
      green += image.data[from + 1];
      blue += image.data[from + 2];
    }
  }
  to[index] = Math.floor((red * factor) / 2 ** 24);
  to[index + 1] = Math.floor((green * factor) / 2 ** 24);
  to[index + 2] = Math.floor((blue * factor) / 2 ** 24);
  to[index + 3] = 255;
}

/** Fixed-point weights of consecutive source pixels, from index `first`, for one target pixel. */
interface FilterWeights {
  first: number;
  weights: Int32Array;
}

/** Return the triangle filter of every target pixel, over `span` of `size` source pixels. */
function filterWeights(size: number, span: number, target: number): FilterWeights[] {
  const scale = span / target;
  const support = Math.max(1, scale);
  return Array.from({ length: target }, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(size, Math.trunc(center + support + 0.5));
    const triangle = Array.from({ length: last - first }, (_, step) =>
      Math.max(0, 1 - Math.abs((first + step - center + 0.5) / support)),
    );
    const sum = triangle.reduce((total, value) => total + value, 0);
    return {
      first,
      weights: Int32Array.from(triangle, (value) => Math.trunc(0.5 + (value / sum) * 2 ** BITS)),
    };
  });
}

function resizeHorizontally(image: Pixels, columns: FilterWeights[]): Pixels {
  const output = blank(columns.length, image.height);
  for (let y = 0, index = 0; y < image.height; y++) {
    for (const { first, weights } of columns) {
      weightedSum(image.data, 4 * (y * image.width + first), 4, weights, output.data, index);
      index += 4;
    }
  }
  return output;
}

function resizeVertically(image: Pixels, rows: FilterWeights[]): Pixels {
  const output = blank(image.width, rows.length);
  let index = 0;
  for (const { first, weights } of rows) {
    for (let x = 0; x < image.width; x++, index += 4) {
      weightedSum(image.data, 4 * (first * image.width + x), 4 * image.width, weights, output.data, index);
    }
  }
  return output;
}

function weightedSum(
  data: Uint8ClampedArray,
  from: number,
  step: number,
  weights: Int32Array,
  to: Uint8ClampedArray,
  index: number,
): void {
  let red = 1 << (BITS - 1);
  let green = 1 << (BITS - 1);
  let blue = 1 << (BITS - 1);
  for (let tap = 0, at = from; tap < weights.length; tap++, at += step) {
    red += data[at] * weights[tap];
    green += data[at + 1] * weights[tap];
    blue += data[at + 2] * weights[tap];
  }
  to[index] = red >> BITS;
  to[index + 1] = green >> BITS;
  to[index + 2] = blue >> BITS;
  to[index + 3] = 255;
}
