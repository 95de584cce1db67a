/**
 * Bilinear, antialiased resize, equal to Pillow's `Image.resize(..., BILINEAR, reducing_gap=2)`.
 *
 * The horizontal pass runs first. Pillow 13 sometimes runs the vertical pass first; a few values then differ by 1.
 */

import { blank, type Pixels } from './imaging.ts';

const REDUCING_GAP = 2;
/** Weights are fixed-point numbers in units of 2 ** -BITS. */
const BITS = 22;
/** One half, for rounding. */
const HALF = 1 << (BITS - 1);

export function resize(image: Pixels, width: number, height: number): Pixels {
  if (image.width === width && image.height === height) return image;
  const factorX = Math.max(1, Math.trunc(image.width / width / REDUCING_GAP));
  const factorY = Math.max(1, Math.trunc(image.height / height / REDUCING_GAP));
  const reduced = factorX > 1 || factorY > 1 ? reduce(image, factorX, factorY) : image;
  const columns = triangleFilters(reduced.width, Math.fround(image.width / factorX), width);
  const rows = triangleFilters(reduced.height, Math.fround(image.height / factorY), height);
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

/** Triangle filters of all target pixels: fixed-point weights, `taps` per target, of the source pixels from `firsts` on. */
interface Filters {
  taps: number;
  firsts: Int32Array;
  weights: Int32Array;
}

/** Return the triangle filter of every target pixel, over `span` of `size` source pixels. */
function triangleFilters(size: number, span: number, target: number): Filters {
  const scale = span / target;
  const support = Math.max(1, scale);
  const taps = 2 * Math.ceil(support) + 1;
  const filters = { taps, firsts: new Int32Array(target), weights: new Int32Array(target * taps) };
  for (let index = 0; index < target; index++) {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(size, Math.trunc(center + support + 0.5));
    const triangle = Array.from({ length: last - first }, (_, step) =>
      Math.max(0, 1 - Math.abs((first + step - center + 0.5) / support)),
    );
    const sum = triangle.reduce((total, value) => total + value, 0);
    const fixed = triangle.map((value) => Math.trunc(0.5 + (value / sum) * 2 ** BITS));
    // By rounding, the first pixels may have no weight; a pass ends at the first weight of 0.
    const skipped = fixed.findIndex((weight) => weight > 0);
    filters.firsts[index] = first + skipped;
    filters.weights.set(fixed.slice(skipped), index * taps);
  }
  return filters;
}

function resizeHorizontally(image: Pixels, { taps, firsts, weights }: Filters): Pixels {
  const output = blank(firsts.length, image.height);
  const from = image.data;
  const to = output.data;
  for (let y = 0, index = 0; y < image.height; y++) {
    for (let x = 0; x < firsts.length; x++, index += 4) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let at = 4 * (y * image.width + firsts[x]);
      for (let tap = x * taps, end = tap + taps; tap < end && weights[tap] > 0; tap++, at += 4) {
        const weight = weights[tap];
        red = (red + Math.imul(from[at], weight)) | 0;
        green = (green + Math.imul(from[at + 1], weight)) | 0;
        blue = (blue + Math.imul(from[at + 2], weight)) | 0;
      }
      to[index] = red >> BITS;
      to[index + 1] = green >> BITS;
      to[index + 2] = blue >> BITS;
      to[index + 3] = 255;
    }
  }
  return output;
}

function resizeVertically(image: Pixels, { taps, firsts, weights }: Filters): Pixels {
  const output = blank(image.width, firsts.length);
  const stride = 4 * image.width;
  const sums = new Int32Array(stride);
  for (let y = 0; y < firsts.length; y++) {
    sums.fill(HALF);
    for (let tap = 0; tap < taps; tap++) {
      const weight = weights[y * taps + tap];
      if (weight === 0) continue;
      const start = (firsts[y] + tap) * stride;
      for (let x = 0; x < stride; x++) sums[x] += Math.imul(image.data[start + x], weight);
    }
    const end = y * stride;
    for (let x = 0; x < stride; x++) output.data[end + x] = sums[x] >> BITS;
  }
  return output;
}
