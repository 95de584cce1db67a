import { expect, test } from 'vitest';
import { reduceSize } from '../src/scaling';

test('a large image is reduced to the maximum of its long side, with sides of at least one pixel', () => {
  expect(reduceSize({ width: 8192, height: 6000 }, 4096)).toEqual({ width: 4096, height: 3000, scale: 2 });
  expect(reduceSize({ width: 1, height: 10_000 }, 4096)).toMatchObject({ width: 1, height: 4096 });
});

test('a small image is not enlarged', () => {
  expect(reduceSize({ width: 640, height: 480 }, 4096)).toEqual({ width: 640, height: 480, scale: 1 });
});
