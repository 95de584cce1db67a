/**
 * Stretching a picture, bilinear and antialiased, as Pillow's `Image.resize(..., BILINEAR, reducing_gap=2)` does it.
 *
 * First across, then down. Pillow 13 sometimes goes the other way round: a few colours then differ by 1 of 255.
 */

import { blank, type Pixels } from './imaging';

const GAP = 2;
/** Weights are whole multiples of 2 ** -BITS. */
const BITS = 22;

export function resize(image: Pixels, width: number, height: number): Pixels {
  if (image.width === width && image.height === height) return image;
  const across = Math.max(1, Math.trunc(image.width / width / GAP));
  const down = Math.max(1, Math.trunc(image.height / height / GAP));
  const reduced = across > 1 || down > 1 ? reduce(image, across, down) : image;
  const columns = weights(reduced.width, Math.fround(image.width / across), width);
  const rows = weights(reduced.height, Math.fround(image.height / down), height);
  return stretchDown(stretchAcross(reduced, columns), rows);
}

/** Blocks averaged to one pixel each; those cut by the right and bottom border from the pixels that they have. */
function reduce(image: Pixels, across: number, down: number): Pixels {
  const out = blank(Math.ceil(image.width / across), Math.ceil(image.height / down));
  for (let row = 0, place = 0; row < out.height; row++) {
    const y2 = Math.min((row + 1) * down, image.height);
    for (let column = 0; column < out.width; column++, place += 4) {
      const x2 = Math.min((column + 1) * across, image.width);
      averageBlock(image, column * across, row * down, x2, y2, out.data, place);
    }
  }
  return out;
}

function averageBlock(image: Pixels, x1: number, y1: number, x2: number, y2: number, to: Uint8ClampedArray, place: number): void {
  const count = (x2 - x1) * (y2 - y1);
  const factor = Math.trunc(Math.fround(2 ** 24 / count)); // Pillow multiplies by a rounded 1 / count
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
  to[place] = Math.floor((red * factor) / 2 ** 24);
  to[place + 1] = Math.floor((green * factor) / 2 ** 24);
  to[place + 2] = Math.floor((blue * factor) / 2 ** 24);
  to[place + 3] = 255;
}

/** What one pixel of the target takes from which pixels of the source. */
interface Weights {
  first: number;
  shares: Int32Array;
}

/** One triangle for every target pixel, as wide as the reduction, over `span` of `size` source pixels. */
function weights(size: number, span: number, target: number): Weights[] {
  const scale = span / target;
  const support = Math.max(1, scale);
  return Array.from({ length: target }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(size, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: last - first }, (_, step) =>
      Math.max(0, 1 - Math.abs((first + step - centre + 0.5) / support)),
    );
    const sum = raw.reduce((one, other) => one + other, 0);
    return { first, shares: Int32Array.from(raw, (share) => Math.trunc(0.5 + (share / sum) * 2 ** BITS)) };
  });
}

function stretchAcross(image: Pixels, columns: Weights[]): Pixels {
  const out = blank(columns.length, image.height);
  for (let y = 0, place = 0; y < image.height; y++) {
    for (const { first, shares } of columns) {
      mix(image.data, 4 * (y * image.width + first), 4, shares, out.data, place);
      place += 4;
    }
  }
  return out;
}

function stretchDown(image: Pixels, rows: Weights[]): Pixels {
  const out = blank(image.width, rows.length);
  let place = 0;
  for (const { first, shares } of rows) {
    for (let x = 0; x < image.width; x++, place += 4) {
      mix(image.data, 4 * (first * image.width + x), 4 * image.width, shares, out.data, place);
    }
  }
  return out;
}

function mix(data: Uint8ClampedArray, from: number, step: number, shares: Int32Array, to: Uint8ClampedArray, place: number): void {
  let red = 1 << (BITS - 1);
  let green = 1 << (BITS - 1);
  let blue = 1 << (BITS - 1);
  for (let index = 0; index < shares.length; index++, from += step) {
    red += data[from] * shares[index];
    green += data[from + 1] * shares[index];
    blue += data[from + 2] * shares[index];
  }
  to[place] = red >> BITS;
  to[place + 1] = green >> BITS;
  to[place + 2] = blue >> BITS;
  to[place + 3] = 255;
}
