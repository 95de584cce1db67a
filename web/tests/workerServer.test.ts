/** The worker's end of the protocol. */

import { afterEach, expect, test, vi } from 'vitest';
import { serveAnalyzer } from '../src/engine/workerServer';

afterEach(() => vi.unstubAllGlobals());

test.each([
  [6616248, 'The analysis failed (6616248).'],
  [undefined, 'The analysis failed (undefined).'],
  [new Error('no memory'), 'no memory'],
])('a request that fails with %s is answered with a message', async (failure, message) => {
  const postMessage = vi.fn();
  let send: (event: { data: object }) => void = () => undefined;
  vi.stubGlobal('postMessage', postMessage);
  vi.stubGlobal('addEventListener', (_: string, listener: typeof send) => {
    send = listener;
  });
  vi.stubGlobal('fetch', () => new Promise(() => undefined));
  serveAnalyzer([() => Promise.reject(failure)]);
  send({ data: { id: 3, type: 'open', model: 'open', models: 'http://localhost/models/' } });
  await vi.waitFor(() => expect(postMessage).toHaveBeenCalledWith({ id: 3, type: 'error', message }));
});
