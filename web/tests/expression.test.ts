import { expect, test } from 'vitest';
import { threadsFor } from '../src/device/threads';
import { type ExpressionManifest, predictExpressions } from '../src/engine/expression';
import { blank } from '../src/engine/imaging';
import type { Input } from '../src/engine/network';
import { isSharpnessCrop } from '../src/engine/quality';

const MANIFEST: ExpressionManifest = {
  labels: ['neutral', 'happiness'],
  input: { size: 2 },
  alignment: { template: 'ferplus', margin: 0 },
  temperature: 1,
  abstain_below: 0,
};
const QUALITY = { size_px: 100, sharpness: 1, frontality: 1, visible: 1 };

/** A crop of one color. */
function crop(red: number, green: number, blue: number) {
  const image = blank(2, 2);
  for (let index = 0; index < image.data.length; index += 4) image.data.set([red, green, blue, 255], index);
  return image;
}

test('faces are predicted in passes of at most 16, in their order', async () => {
  const inputs: { values: Input; dims: readonly number[] }[] = [];
  const network = {
    /** The logits of a face are the first values of its red and green plane. */
    async run(values: Input, dims: readonly number[]) {
      inputs.push({ values, dims });
      return [Float32Array.from({ length: 2 * dims[0] }, (_, index) => values[12 * (index >> 1) + 4 * (index % 2)])];
    },
  };
  const crops = Array.from({ length: 18 }, (_, face) => crop(face, face % 2 ? 20 : 0, 7));
  const expressions = await predictExpressions(network, MANIFEST, crops, Array(18).fill(QUALITY));
  expect(inputs.map(({ dims }) => dims)).toEqual([
    [16, 3, 2, 2],
    [2, 3, 2, 2],
  ]);
  expect([...inputs[1].values]).toEqual([
    16, 16, 16, 16, 0, 0, 0, 0, 7, 7, 7, 7, 17, 17, 17, 17, 20, 20, 20, 20, 7, 7, 7, 7,
  ]);
  expect(expressions.map(({ label }) => label)).toEqual(crops.map((_, face) => (face % 2 ? 'happiness' : 'neutral')));
});

test('without faces, the network does not run', async () => {
  const network = { run: () => Promise.reject(new Error('ran')) };
  expect(await predictExpressions(network, MANIFEST, [], [])).toEqual([]);
});

test('sharpness is measured on the crop of a model only where that is the same crop', () => {
  const sized = { ...MANIFEST, input: { size: 64 } };
  expect(isSharpnessCrop(sized)).toBe(true);
  expect(isSharpnessCrop(MANIFEST)).toBe(false);
  expect(isSharpnessCrop({ ...sized, alignment: { template: 'ferplus', margin: 0.1 } })).toBe(false);
});

test.each([
  [1, 1],
  [2, 2],
  [4, 2],
  [6, 3],
  [8, 4],
  [32, 4],
])('%i processors run %i threads', (processors, threads) => {
  expect(threadsFor(processors)).toBe(threads);
});
