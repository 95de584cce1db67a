import { expect, test } from 'vitest';
import { threadsFor } from '../src/device/threads';
import { toExpressionRecord } from '../src/engine/analyzer';
import { type ExpressionManifest, predictExpressions } from '../src/engine/expression';
import { blank } from '../src/engine/imaging';
import type { Input } from '../src/engine/network';
import { isSharpnessCrop } from '../src/engine/quality';
import { Smoother } from '../src/engine/smoothing';

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
    outputs: ['logits'],
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

test('valence and arousal of a regression head replace the derived ones', async () => {
  const run = async (_: Input, [count]: readonly number[], outputs: readonly string[] = []) => {
    expect(outputs).toEqual(['logits', 'valence_arousal']);
    return [new Float32Array(2 * count), Float32Array.of(0.5, -0.25, 0.125, 1)];
  };
  const network = { outputs: ['features', 'logits', 'valence_arousal'], run };
  const crops = [crop(0, 0, 0), crop(0, 0, 0)];
  const expressions = await predictExpressions(network, MANIFEST, crops, [QUALITY, QUALITY]);
  expect(expressions[0]).toMatchObject({ valence: 0.5, arousal: -0.25, affect: 'trained' });
  expect(toExpressionRecord(expressions[1])).toMatchObject({ valence: 0.125, arousal: 1, affect: 'trained' });
  const smoother = new Smoother(MANIFEST.labels, 0);
  expect(smoother.add(1, 0, expressions[0], 1)).toMatchObject({ valence: 0.5, affect: 'trained' });
  // One time constant of the filter.
  expect(smoother.add(1, 0.2, expressions[1], 1).valence).toBeCloseTo(0.5 - 0.375 * (1 - Math.exp(-1)));
});

test('without faces, the network does not run', async () => {
  const network = { outputs: ['logits'], run: () => Promise.reject(new Error('ran')) };
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
