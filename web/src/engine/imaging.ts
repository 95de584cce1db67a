/**
 * Warp and resize: the pixels that `mien/imaging.py` would make, pixel by pixel.
 *
 * A picture is RGBA, as a canvas gives it; the fourth value of a pixel is never read.
 */

import { clip, determinant, invert, round, transformPoint, type Transform } from './geometry';

export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** (height, width, 4) */
  readonly data: Uint8ClampedArray;
}

export function blank(width: number, height: number): Pixels {
  return { width, height, data: new Uint8ClampedArray(4 * width * height) };
}

/** No such crop can be cut out: the landmarks are no face's. */
export class WarpError extends Error {}

/**
 * Maps a picture through a source-to-target transform into a new one of `width` x `height`.
 *
 * Where the target is smaller, whole blocks of k x k pixels are averaged first (k = the reduction, rounded); the rest is
 * bilinear. Beyond the border its last pixels repeat. Throws a WarpError when the whole picture would shrink to nothing.
 */
export function warp(image: Pixels, matrix: Transform, width: number, height: number): Pixels {
  const scale = Math.sqrt(Math.abs(determinant(matrix)));
  if (!(scale * Math.max(image.width, image.height) >= 1)) throw new WarpError('the transform shrinks the image to nothing');
  const back = invert(matrix);
  const k = Math.max(1, round(1 / scale));
  const [x1, y1, x2, y2] = wantedPart(image, back, width, height, k);
  const patch = k === 1 ? image : averageBlocks(image, x1, y1, x2, y2, k);
  const [left, top] = k === 1 ? [0, 0] : [x1 / k, y1 / k];
  const [a, b, c, d, e, f] = back.map((value) => value / k);
  return sample(patch, [a, b, c - left, d, e, f - top], width, height);
}

/** The part of a picture that a target spans, and k pixels around it; it begins at a multiple of k. */
function wantedPart(image: Pixels, back: Transform, width: number, height: number, k: number): number[] {
  const corners = ([[0, 0], [width, 0], [width, height], [0, height]] as const).map((corner) => transformPoint(back, corner));
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  const start = (low: number, limit: number) => Math.floor(clip(low, 0, limit - 1) / k) * k;
  const x1 = start(Math.floor(Math.min(...xs)) - k, image.width);
  const y1 = start(Math.floor(Math.min(...ys)) - k, image.height);
  const x2 = clip(Math.ceil(Math.max(...xs)) + k, x1 + 1, Math.max(image.width, x1 + 1));
  const y2 = clip(Math.ceil(Math.max(...ys)) + k, y1 + 1, Math.max(image.height, y1 + 1));
  return [x1, y1, x2, y2];
}

/** Every k x k block of a part averaged to one pixel; at the right and bottom the last column and row repeat. */
function averageBlocks(image: Pixels, x1: number, y1: number, x2: number, y2: number, k: number): Pixels {
  const out = blank(Math.ceil((x2 - x1) / k), Math.ceil((y2 - y1) / k));
  const sums = new Uint32Array(4 * out.width);
  for (let row = 0, place = 0; row < out.height; row++) {
    sums.fill((k * k) >> 1);
    for (let step = 0; step < k; step++) {
      addRow(sums, image, Math.min(y1 + row * k + step, y2 - 1), x1, x2, k);
    }
    for (const sum of sums) out.data[place++] = Math.floor(sum / (k * k));
  }
  return out;
}

/** Adds one row of a picture to the sums of the blocks that it crosses. */
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

/** The picture at the places that a target-to-source transform names, between four pixels each. */
function sample(image: Pixels, [a, b, c, d, e, f]: number[], width: number, height: number): Pixels {
  const { data } = image;
  const right = image.width - 1;
  const bottom = image.height - 1;
  const out = blank(width, height);
  for (let row = 0, place = 0; row < height; row++) {
    for (let column = 0; column < width; column++, place += 4) {
      const x = a * (column + 0.5) + b * (row + 0.5) + c - 0.5;
      const y = d * (column + 0.5) + e * (row + 0.5) + f - 0.5;
      const left = Math.floor(x);
      const top = Math.floor(y);
      const above = image.width * clip(top, 0, bottom);
      const below = image.width * clip(top + 1, 0, bottom);
      const before = clip(left, 0, right);
      const after = clip(left + 1, 0, right);
      for (let band = 0; band < 3; band++) {
        const high = mix(data[4 * (above + before) + band], data[4 * (above + after) + band], x - left);
        const low = mix(data[4 * (below + before) + band], data[4 * (below + after) + band], x - left);
        out.data[place + band] = Math.floor(mix(high, low, y - top));
      }
      out.data[place + 3] = 255;
    }
  }
  return out;
}

function mix(one: number, other: number, share: number): number {
  return one + (other - one) * share;
}

/** One pixel of every `step` x `step`, the first of each. */
export function thin(image: Pixels, step: number): Pixels {
  if (step === 1) return image;
  const out = blank(Math.ceil(image.width / step), Math.ceil(image.height / step));
  const from = new Uint32Array(image.data.buffer, image.data.byteOffset, image.width * image.height);
  const to = new Uint32Array(out.data.buffer);
  for (let y = 0, place = 0; y < image.height; y += step) {
    for (let x = 0; x < image.width; x += step) to[place++] = from[y * image.width + x];
  }
  return out;
}

/** A picture turned a quarter, once or three times, counterclockwise. */
export function quarterTurned({ width, height, data }: Pixels, turns: 1 | 3): Pixels {
  const turned = blank(height, width);
  const from = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const to = new Uint32Array(turned.data.buffer);
  for (let y = 0, place = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      to[place++] = turns === 1 ? from[x * width + width - 1 - y] : from[(height - 1 - x) * width + y];
    }
  }
  return turned;
}
