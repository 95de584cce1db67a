/** Requests to the server that fail, hang or are aborted. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openServerBackend } from '../src/server/backend';
import { BusyError, request } from '../src/server/errors';

const ADDRESS = new URL('http://localhost/v1/models');
const never = new AbortController().signal;

/** A server that accepts every request and never answers. */
function hang(_: unknown, { signal }: RequestInit): Promise<Response> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
}

beforeEach(() => {
  vi.stubGlobal('document', { baseURI: 'http://localhost/' });
  vi.stubGlobal('location', { host: 'localhost' });
});

afterEach(() => vi.unstubAllGlobals());

test('a request that the server does not answer in time may be retried', async () => {
  vi.stubGlobal('fetch', hang);
  const answer = request(ADDRESS, {}, { signal: never, timeout_s: 0.01 });
  await expect(answer).rejects.toThrow(new BusyError('The server does not respond.'));
});

test('a response whose rest does not arrive in time may be retried', async () => {
  vi.stubGlobal('fetch', async (_: unknown, { signal }: RequestInit) => {
    const body = new ReadableStream({
      start: (controller) => signal?.addEventListener('abort', () => controller.error(signal.reason)),
    });
    return new Response(body);
  });
  const answer = request(ADDRESS, {}, { signal: never, timeout_s: 0.01 });
  await expect(answer).rejects.toThrow(new BusyError('The server does not respond.'));
});

test('a request ends with its signal, also in browsers without AbortSignal.any, and leaves no listener', async () => {
  vi.stubGlobal('AbortSignal', class {});
  const controller = new AbortController();
  const { signal } = controller;
  const added = vi.spyOn(signal, 'addEventListener');
  const removed = vi.spyOn(signal, 'removeEventListener');
  const limits = { signal, timeout_s: 100 };
  vi.stubGlobal('fetch', async () => Response.json({ models: [] }));
  expect(await request(ADDRESS, {}, limits)).toEqual({ models: [] });
  vi.stubGlobal('fetch', hang);
  const answer = request(ADDRESS, {}, limits);
  controller.abort(new Error('stopped'));
  await expect(answer).rejects.toThrow('stopped');
  expect(added).toHaveBeenCalledTimes(2);
  expect(removed.mock.calls).toEqual(added.mock.calls);
  await expect(request(ADDRESS, {}, limits)).rejects.toThrow('stopped');
});

test('errors of the server have its code, and a response that is not JSON is an error', async () => {
  const error = { code: 'image_unreadable', message: 'a.png is broken.' };
  vi.stubGlobal('fetch', async () => Response.json({ error }, { status: 422 }));
  const limits = { signal: never, timeout_s: 1 };
  const expected = { code: 'image_unreadable', message: 'Server error: a.png is broken.' };
  await expect(request(ADDRESS, {}, limits)).rejects.toMatchObject(expected);
  vi.stubGlobal('fetch', async () => new Response('<!doctype html>'));
  await expect(request(ADDRESS, {}, limits)).rejects.toThrow('Server error: the response is not JSON.');
});

test('the request for an image ends when the backend is closed', async () => {
  class StubCanvas {
    getContext = () => ({ fillRect: vi.fn(), drawImage: vi.fn() });
    convertToBlob = async () => new Blob();
  }
  vi.stubGlobal('OffscreenCanvas', StubCanvas);
  const models = [{ name: 'open', version: '1', labels: ['neutral'], abstain_below: 0.5 }];
  vi.stubGlobal('fetch', async () => Response.json({ models }));
  const backend = await openServerBackend({ model: 'open', actionUnits: false, signal: never });
  const fetch = vi.fn(hang);
  vi.stubGlobal('fetch', fetch);
  const answer = backend.analyzeImage({ width: 1, height: 1, close: vi.fn() } as unknown as ImageBitmap);
  await vi.waitFor(() => expect(fetch).toHaveBeenCalled());
  backend.close();
  await expect(answer).rejects.toThrow('The connection was closed.');
});
