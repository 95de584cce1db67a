import { describe, expect, test } from 'vitest';
import { alignFace } from '../src/engine/alignment';
import type { Transform } from '../src/engine/geometry';
import { blank, thin, warp, WarpError } from '../src/engine/imaging';
import { resize } from '../src/engine/resizing';
import { colours, fixture, numbers, pixels, type Packed } from './fixtures';

const python = fixture('imaging');
const image = pixels(python.image);

describe('pixels equal those of Python', () => {
  test.each(python.resized as Packed[])('resized to $shape', (wanted) => {
    expect(colours(resize(image, wanted.shape[1], wanted.shape[0]))).toEqual(numbers(wanted));
  });

  test.each(python.warped as { matrix: Transform; pixels: Packed }[])('warped by $matrix', ({ matrix, pixels }) => {
    expect(colours(warp(image, matrix, pixels.shape[1], pixels.shape[0]))).toEqual(numbers(pixels));
  });

  test.each(python.aligned as { size: number; margin: number; pixels: Packed }[])(
    'aligned to $size with margin $margin',
    ({ size, margin, pixels }) => {
      const crop = alignFace(image, python.landmarks_xy, size, { template: 'ferplus', margin });
      expect(colours(crop)).toEqual(numbers(pixels));
    },
  );
});

test('nothing is left of a picture that shrinks to less than a pixel', () => {
  expect(() => warp(image, [0.001, 0, 0, 0, 0.001, 0], 8, 8)).toThrow(WarpError);
  expect(() => warp(image, [NaN, 0, 0, 0, NaN, 0], 8, 8)).toThrow(WarpError);
});

test('thinning takes the first pixel of every block', () => {
  const picture = blank(5, 3);
  picture.data.forEach((_, place) => (picture.data[place] = place));
  const thinned = thin(picture, 2);
  expect([thinned.width, thinned.height]).toEqual([3, 2]);
  expect([...thinned.data.filter((_, place) => place % 4 === 0)]).toEqual([0, 8, 16, 40, 48, 56]);
});
