/** What Python gave for fixed inputs; `tests/support/browser_fixtures.py` writes it. */

import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Found } from '../src/engine/detection';
import type { Box, Point } from '../src/engine/geometry';
import { blank, type Pixels } from '../src/engine/imaging';

export interface Packed {
  shape: number[];
  kind: 'uint8' | 'float32';
  base64: string;
}

export function fixture(name: string) {
  return JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8'));
}

export function numbers({ kind, base64 }: Packed): Uint8Array | Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  return kind === 'uint8' ? bytes : new Float32Array(bytes.buffer);
}

/** A picture (H, W, 3) as a canvas would give it. */
export function pixels(packed: Packed): Pixels {
  const image = blank(packed.shape[1], packed.shape[0]);
  numbers(packed).forEach((value, place) => (image.data[4 * Math.floor(place / 3) + (place % 3)] = value));
  return image;
}

/** The red, green and blue of a picture, to compare with `numbers`. */
export function colours(image: Pixels): Uint8Array {
  return Uint8Array.from(image.data.filter((_, place) => place % 4 < 3));
}

/** A row of the detector in Python: box, landmarks, confidence. */
export function foundOf(row: number[]): Found {
  const landmarks = Array.from({ length: 5 }, (_, place) => row.slice(4 + 2 * place, 6 + 2 * place) as Point);
  return { box: row.slice(0, 4) as Box, landmarks, confidence: row[14] };
}

/** Compares numbers, however nested, and all else exactly. */
export function expectClose(found: unknown, wanted: unknown, digits = 5): void {
  if (typeof wanted === 'number') return expect(found).toBeCloseTo(wanted, digits);
  if (wanted === null || typeof wanted !== 'object') return expect(found).toBe(wanted);
  expect(Object.keys(found as object).sort()).toEqual(Object.keys(wanted).sort());
  for (const [key, value] of Object.entries(wanted)) expectClose((found as Record<string, unknown>)[key], value, digits);
}
