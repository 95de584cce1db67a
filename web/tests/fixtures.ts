/** Reference values from Python for fixed inputs, written by `tests/support/browser_fixtures.py`. */

import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { Detection } from '../src/engine/detection';
import type { Box, Point } from '../src/engine/geometry';
import { blank, type Pixels } from '../src/engine/imaging';
import type { MeshNetworks } from '../src/engine/landmarks';
import type { Network } from '../src/engine/network';

export interface PackedArray {
  shape: number[];
  kind: 'uint8' | 'float32';
  base64: string;
}

export function fixture(name: string) {
  return JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), 'utf8'));
}

export function unpack({ kind, base64 }: PackedArray): Uint8Array | Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  return kind === 'uint8' ? bytes : new Float32Array(bytes.buffer);
}

/** Convert an image (H, W, 3) to RGBA, as a canvas returns it. */
export function toPixels(packed: PackedArray): Pixels {
  const image = blank(packed.shape[1], packed.shape[0]);
  unpack(packed).forEach((value, index) => {
    image.data[4 * Math.floor(index / 3) + (index % 3)] = value;
  });
  return image;
}

/** Return the RGB channels of an image, to compare with `unpack`. */
export function rgb(image: Pixels): Uint8Array {
  return Uint8Array.from(image.data.filter((_, index) => index % 4 < 3));
}

/** Return mesh networks of which the small one sees no face clearly. */
export function withDetailed(network: Network): MeshNetworks {
  const unclear = { run: async () => [new Float32Array(3 * 478), Float32Array.of(-9)] };
  return { small: { network: unclear, size: 128 }, detailed: { network, size: 256 } };
}

/** Convert a detector row of Python: box, landmarks, confidence. */
export function toDetection(row: number[]): Detection {
  const landmarks = Array.from({ length: 5 }, (_, point) => row.slice(4 + 2 * point, 6 + 2 * point) as Point);
  return { box: row.slice(0, 4) as Box, landmarks, confidence: row[14] };
}

/** Compare nested values: numbers to `digits` digits, everything else exactly. */
export function expectClose(actual: unknown, expected: unknown, digits = 5): void {
  if (typeof expected === 'number') {
    expect(actual).toBeCloseTo(expected, digits);
    return;
  }
  if (expected === null || typeof expected !== 'object') {
    expect(actual).toBe(expected);
    return;
  }
  expect(Object.keys(actual as object).sort()).toEqual(Object.keys(expected).sort());
  for (const [key, value] of Object.entries(expected)) {
    expectClose((actual as Record<string, unknown>)[key], value, digits);
  }
}
