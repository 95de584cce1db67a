import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Stream } from '../src/server/stream';

/** WebSocket whose server answers only what a test says. */
class StubSocket extends EventTarget {
  static readonly OPEN = 1;
  static readonly CLOSING = 2;
  static all: StubSocket[] = [];
  readyState = StubSocket.OPEN;
  readonly sent: unknown[] = [];

  constructor() {
    super();
    StubSocket.all.push(this);
    queueMicrotask(() => this.receive({ type: 'ready', labels: [] }));
  }

  send(message: unknown): void {
    this.sent.push(message);
  }

  receive(message: object): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: JSON.stringify(message) }));
  }

  /** The server's close frame arrives; the browser reports it once the connection has ended. */
  startClosing(): void {
    this.readyState = StubSocket.CLOSING;
  }

  close(code = 1005): void {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event('close'), { code }));
  }
}

async function open() {
  const stream = new Stream('open', false);
  const answer = stream.request('frame');
  await vi.waitFor(() => expect(StubSocket.all[0]?.sent).toEqual(['frame']));
  return { stream, socket: StubSocket.all[0], answer };
}

/** Open a stream whose server begins to close it after the first answer. */
async function openClosing() {
  const { stream, socket, answer } = await open();
  socket.receive({ type: 'reset' });
  await answer;
  socket.startClosing();
  return { stream, socket };
}

beforeEach(() => {
  StubSocket.all = [];
  vi.stubGlobal('WebSocket', StubSocket);
  vi.stubGlobal('document', { baseURI: 'http://localhost/' });
  vi.stubGlobal('fetch', async () => Response.json({ models: [] }));
});

afterEach(() => vi.unstubAllGlobals());

test('a request is answered', async () => {
  const { socket, answer } = await open();
  socket.receive({ type: 'reset' });
  expect(await answer).toEqual({ type: 'reset' });
});

test('a request during the close of the server is refused with its reason', async () => {
  const { stream, socket } = await openClosing();
  const refused = expect(stream.request('frame')).rejects.toThrow('The server was stopped.');
  socket.close(1001);
  await refused;
});

test('an image that the server drops while it stops fails with the reason of the close', async () => {
  const { socket, answer } = await open();
  socket.receive({ type: 'dropped', frame_index: 0 });
  const refused = expect(answer).rejects.toThrow('The server was stopped.');
  socket.close(1001);
  await refused;
});

test('after a pause the next request opens another connection', async () => {
  const { stream, socket } = await openClosing();
  const next = stream.request('frame');
  socket.close(1008);
  await vi.waitFor(() => expect(StubSocket.all[1]?.sent).toEqual(['frame']));
  StubSocket.all[1].receive({ type: 'reset' });
  expect(await next).toEqual({ type: 'reset' });
});

test('a stream that is closed during the close of the server opens no other connection', async () => {
  const { stream, socket } = await openClosing();
  const refused = expect(stream.request('frame')).rejects.toThrow('The connection was closed.');
  stream.close();
  await refused;
  expect(StubSocket.all).toEqual([socket]);
});

test('a stream is closed at once, also while the server hangs', async () => {
  const { stream, socket } = await openClosing();
  socket.close = () => undefined;
  const refused = expect(stream.request('frame')).rejects.toThrow('The connection was closed.');
  stream.close();
  await refused;
  const fetch = vi.fn(
    (_: unknown, { signal }: RequestInit) =>
      new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
  );
  vi.stubGlobal('fetch', fetch);
  const connecting = new Stream('open', false);
  const closed = expect(connecting.request('frame')).rejects.toThrow('The connection was closed.');
  await vi.waitFor(() => expect(fetch).toHaveBeenCalled());
  connecting.close();
  await closed;
});
