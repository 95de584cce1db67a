import { describe, expect, test } from 'vitest';
import { alignFace } from '../src/engine/alignment';
import type { Transform } from '../src/engine/geometry';
import { blank, subsample, WarpError, warp } from '../src/engine/imaging';
import { resize } from '../src/engine/resizing';
import { fixture, type PackedArray, rgb, toPixels, unpack } from './fixtures';

const python = fixture('imaging');
const image = toPixels(python.image);

describe('pixels equal those of Python', () => {
  test.each(python.resized as PackedArray[])('resized to $shape', (expected) => {
    expect(rgb(resize(image, expected.shape[1], expected.shape[0]))).toEqual(unpack(expected));
  });

  test('resized with filters whose first pixel has no weight', () => {
    const { height, width } = toPixels(python.narrow_resized);
    expect(rgb(resize(toPixels(python.narrow), width, height))).toEqual(unpack(python.narrow_resized));
  });

  test.each(python.warped as { matrix: Transform; pixels: PackedArray }[])(
    'warped by $matrix',
    ({ matrix, pixels }) => {
      expect(rgb(warp(image, matrix, pixels.shape[1], pixels.shape[0]))).toEqual(unpack(pixels));
    },
  );

  test.each(python.aligned as { size: number; margin: number; pixels: PackedArray }[])(
    'aligned to $size with margin $margin',
    ({ size, margin, pixels }) => {
      const crop = alignFace(image, python.landmarks_xy, size, { template: 'ferplus', margin });
      expect(rgb(crop)).toEqual(unpack(pixels));
    },
  );
});

test('warp rejects a transform that shrinks the image below one pixel', () => {
  expect(() => warp(image, [0.001, 0, 0, 0, 0.001, 0], 8, 8)).toThrow(WarpError);
  expect(() => warp(image, [NaN, 0, 0, 0, NaN, 0], 8, 8)).toThrow(WarpError);
});

test('subsample keeps the first pixel of every block', () => {
  const numbered = blank(5, 3);
  for (let index = 0; index < numbered.data.length; index++) numbered.data[index] = index;
  const subsampled = subsample(numbered, 2);
  expect([subsampled.width, subsampled.height]).toEqual([3, 2]);
  expect([...subsampled.data.filter((_, index) => index % 4 === 0)]).toEqual([0, 8, 16, 40, 48, 56]);
});
