import { gzipSync } from 'node:zlib';
import { afterEach, expect, test, vi } from 'vitest';
import { check, download, Progress, unpack } from '../src/engine/download';

const ADDRESS = 'http://page/models/some.onnx';
const BYTES = Uint8Array.of(1, 2, 3);

afterEach(() => vi.unstubAllGlobals());

test('what is compressed is unpacked, and what a server has unpacked already is left alone', async () => {
  expect(new Uint8Array(await unpack(new Uint8Array(gzipSync(BYTES))))).toEqual(BYTES);
  expect(new Uint8Array(await unpack(BYTES))).toEqual(BYTES);
});

test('a file is refused that is not the one its manifest describes', async () => {
  await check(BYTES, '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81', ADDRESS);
  await expect(check(BYTES, '00', ADDRESS)).rejects.toThrow('some.onnx is not the file');
});

test('progress is told, and never goes back', () => {
  const told: number[] = [];
  const progress = new Progress((share) => told.push(share));
  const first = progress.add(10);
  first(5);
  const unknown = progress.add(0);
  unknown(7);
  const second = progress.add(30);
  second(6);
  first(5);
  second(24);
  expect(told).toEqual([0.5, 0.5, 0.5, 0.5, 1]);
});

test('a file comes whole, and one that does not come is named', async () => {
  vi.stubGlobal('fetch', async () => new Response(BYTES, { headers: { 'Content-Length': '3' } }));
  const told: number[] = [];
  expect(await download(ADDRESS, new Progress((share) => told.push(share)))).toEqual(BYTES);
  expect(told.at(-1)).toBe(1);
  vi.stubGlobal('fetch', async () => new Response(null, { status: 404 }));
  await expect(download(ADDRESS, new Progress(() => undefined))).rejects.toThrow('some.onnx could not be loaded: the server answered 404');
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('network')));
  await expect(download(ADDRESS, new Progress(() => undefined))).rejects.toThrow('is the server still there');
});
