import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createAnalyzer, type OrtModule } from '../src/engine/node';
import { ortRuntime } from '../src/engine/ort';
import { rawPixels } from '../src/engine/pixels';
import { Queue } from '../src/engine/queue';

const ASSETS = resolve(import.meta.dirname, '../../src/mien/assets');
const FILES = ['face-detector', 'face-landmarks', 'face-landmarks-small', 'compact'].flatMap((name) => [
  `${name}.json`,
  `${name}.onnx`,
]);
/** ONNX Runtime that never opens a model. */
const runtime = {
  env: { wasm: {} },
  InferenceSession: { create: () => new Promise(() => undefined) },
} as unknown as OrtModule;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mien-'));
  for (const file of [...FILES, 'face-geometry.json']) await cp(join(ASSETS, file), join(folder, file));
});

afterEach(() => rm(folder, { recursive: true }));

test('a model that was changed is refused', async () => {
  await writeFile(join(folder, 'compact.onnx'), 'other bytes');
  await expect(createAnalyzer({ model: 'compact', models: folder, runtime })).rejects.toThrow(
    'compact.onnx does not match the SHA-256 of its manifest',
  );
});

test('a missing model is named', async () => {
  const models = pathToFileURL(folder);
  await expect(createAnalyzer({ model: 'nobody', models, runtime })).rejects.toThrow(/nobody\.json .* ENOENT/);
});

test('the runtime names ONNX Runtime and its provider', () => {
  expect(ortRuntime(runtime, { provider: 'cpu' }).name).toBe('ONNX Runtime, cpu');
  expect(ortRuntime(runtime, { provider: 'cpu', threads: 2 }).name).toBe('ONNX Runtime, cpu, 2 threads');
  expect(ortRuntime(runtime, { provider: 'wasm', threads: 1 }).name).toBe('WebAssembly, 1 thread');
});

test('models are loaded with the given fetch', async () => {
  const fetch = vi.fn(async () => new Response(null, { status: 401 }));
  await expect(createAnalyzer({ models: 'https://example.org/m', runtime, fetch })).rejects.toThrow('HTTP status 401');
  expect(fetch.mock.calls.map(String)).toContain('https://example.org/m/expression.json');
});

test('an installation without onnxruntime-node names the command', async () => {
  vi.doMock('onnxruntime-node', () => Promise.reject(new Error('not found')));
  await expect(createAnalyzer({ model: 'compact', models: folder })).rejects.toThrow('npm install onnxruntime-node');
  vi.doUnmock('onnxruntime-node');
});

test('RGB and opaque RGBA give the same pixels, and transparent pixels are white', () => {
  const rgba = rawPixels({ width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 255, 250, 251, 252, 255) });
  expect(rawPixels({ width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 250, 251, 252) })).toEqual(rgba);
  expect([...rgba.data]).toEqual([1, 2, 3, 255, 250, 251, 252, 255]);
  const transparent = rawPixels({ width: 1, height: 1, data: Uint8Array.of(9, 9, 9, 0) });
  expect([...transparent.data]).toEqual([255, 255, 255, 255]);
});

test.each([
  [2, 2, 4],
  [0, 0, 0],
  [2, 1, 7],
])('an image of %i x %i pixels and %i bytes is rejected', (width, height, bytes) => {
  expect(() => rawPixels({ width, height, data: new Uint8Array(bytes) })).toThrow(TypeError);
});

test('queued tasks run one after the other, also after a failure', async () => {
  const queue = new Queue();
  const order: string[] = [];
  const task = (name: string, delay_ms: number) => async () => {
    order.push(`${name} starts`);
    await new Promise((resolve) => setTimeout(resolve, delay_ms));
    order.push(`${name} ends`);
    return name;
  };
  const first = queue.run(task('first', 5));
  const failed = queue.run(() => Promise.reject(new Error('broken')));
  const last = queue.run(task('last', 0));
  await expect(failed).rejects.toThrow('broken');
  expect(await Promise.all([first, last])).toEqual(['first', 'last']);
  expect(order).toEqual(['first starts', 'first ends', 'last starts', 'last ends']);
});
