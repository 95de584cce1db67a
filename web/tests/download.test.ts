import { afterEach, expect, test, vi } from 'vitest';
import { download, downloadJson, Progress, verify } from '../src/engine/download';

const FILE = 'http://page/models/some.onnx';
const BYTES = Uint8Array.of(1, 2, 3);

afterEach(() => vi.unstubAllGlobals());

test('verify rejects a file that does not match the SHA-256 of its manifest', async () => {
  await verify(BYTES, '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81', FILE);
  await verify(BYTES, '039058C6F2C0CB492C533B0A4D14EF77CC0F78ABCCCED5287D84A1A2011CFB81', FILE);
  await expect(verify(BYTES, '00', FILE)).rejects.toThrow('some.onnx does not match the SHA-256 of its manifest');
});

test('progress is reported and never decreases', () => {
  const fractions: number[] = [];
  const progress = new Progress((fraction) => fractions.push(fraction));
  const first = progress.add(10);
  first(5);
  const unknown = progress.add(0);
  unknown(7);
  const second = progress.add(30);
  second(6);
  first(5);
  second(24);
  expect(fractions).toEqual([0.5, 0.5, 0.5, 0.5, 1]);
});

test('download returns the whole file, and names a file that cannot be loaded', async () => {
  vi.stubGlobal('fetch', async () => new Response(BYTES, { headers: { 'Content-Length': '3' } }));
  const fractions: number[] = [];
  expect(await download(FILE, new Progress((fraction) => fractions.push(fraction)))).toEqual(BYTES);
  expect(fractions.at(-1)).toBe(1);
  vi.stubGlobal('fetch', async () => new Response(null, { status: 404 }));
  await expect(download(FILE, new Progress(() => undefined))).rejects.toThrow(
    'some.onnx could not be loaded: HTTP status 404',
  );
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('network')));
  await expect(download(FILE, new Progress(() => undefined))).rejects.toThrow('the server cannot be reached');
});

test('a connection that is lost during a download is named with the file', async () => {
  const body = () => new ReadableStream({ pull: (controller) => controller.error(new TypeError('network error')) });
  vi.stubGlobal('fetch', async () => new Response(body()));
  const message = 'some.onnx could not be loaded: the connection was lost.';
  await expect(download(FILE, new Progress(() => undefined))).rejects.toThrow(message);
  await expect(downloadJson(FILE)).rejects.toThrow(message);
});

test('a page instead of a JSON file is named with its address', async () => {
  vi.stubGlobal('fetch', async () => new Response('<!doctype html>'));
  await expect(downloadJson('http://page/models/some.json')).rejects.toThrow(
    'some.json could not be loaded: there is no JSON file at http://page/models/some.json.',
  );
});
