import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { AnalyzerOptions } from '../src/engine/api';
import type { Request, Response as WorkerResponse } from '../src/engine/messages';
import { connectWorker } from '../src/engine/workerClient';
import { WorkerError } from '../src/engine/workerError';

const RAW = { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) };
/** Conversions of canvases to bitmaps that have not ended. */
let conversions: { resolve(bitmap: StubBitmap): void; reject(error: Error): void }[];

class StubBitmap {}

/** Worker that answers only when told. */
class StubWorker {
  readonly requests: Request[] = [];
  onmessage: (event: { data: WorkerResponse }) => void = () => undefined;
  onerror: (event: { message: string }) => void = () => undefined;
  terminate = vi.fn();

  postMessage(request: Request): void {
    this.requests.push(request);
    if (request.type !== 'open') return;
    const opened = { runtime: 'WebAssembly', labels: ['neutral'], abstainBelow: 0.4, timings_ms: {} };
    this.onmessage({ data: { id: request.id, type: 'opened', ...opened } });
  }

  get types(): string[] {
    return this.requests.slice(1).map(({ type }) => type);
  }
}

async function open(options: AnalyzerOptions = {}) {
  const worker = new StubWorker();
  // The response may come only once the request is pending.
  const post = worker.postMessage.bind(worker);
  worker.postMessage = (request) => queueMicrotask(() => post(request));
  const analyzer = await connectWorker(worker as unknown as Worker, options);
  worker.postMessage = post;
  return { worker, analyzer, canvas: {} as OffscreenCanvas };
}

beforeEach(() => {
  conversions = [];
  vi.stubGlobal('document', { baseURI: 'http://localhost/' });
  vi.stubGlobal('ImageBitmap', StubBitmap);
  vi.stubGlobal(
    'createImageBitmap',
    () => new Promise<StubBitmap>((resolve, reject) => conversions.push({ resolve, reject })),
  );
});

afterEach(() => vi.unstubAllGlobals());

test('overlapping calls keep their order, also a reset', async () => {
  const { worker, analyzer, canvas } = await open();
  const tracker = analyzer.createTracker();
  const answers = [tracker.analyze(canvas, 1), tracker.reset(), analyzer.analyze(RAW)];
  await Promise.resolve();
  expect(worker.types).toEqual([]);
  conversions[0].resolve(new StubBitmap());
  await vi.waitFor(() => expect(worker.types).toEqual(['frame', 'reset', 'image']));
  for (const { id, type } of worker.requests.slice(1)) {
    worker.onmessage({ data: { id, type, result: { type } } as unknown as WorkerResponse });
  }
  expect(await Promise.all(answers)).toEqual([{ type: 'frame' }, undefined, { type: 'image' }]);
});

test('the next image is sent after one that cannot be converted, and before the answer to the last one', async () => {
  const { worker, analyzer, canvas } = await open();
  const broken = analyzer.analyze(canvas);
  void analyzer.analyze(RAW);
  void analyzer.analyze(RAW);
  conversions[0].reject(new Error('broken'));
  await expect(broken).rejects.toThrow('broken');
  await vi.waitFor(() => expect(worker.types).toEqual(['image', 'image']));
});

test('files are sent as they are, for the worker to decode when it is their turn', async () => {
  const { worker, analyzer } = await open();
  const file = new Blob(['image']);
  void analyzer.analyze(file);
  await vi.waitFor(() => expect(worker.requests[1]).toMatchObject({ type: 'image', image: file }));
  expect(conversions).toEqual([]);
});

test.each([
  [{}, false],
  [{ maxFaces: 2 }, true],
  // The worker refuses it.
  [{ maxFaces: 0 }, true],
])('the worker is opened with the options %j', async (options, isLimited) => {
  const { worker } = await open(options);
  expect('maxFaces' in worker.requests[0]).toBe(isLimited);
  expect(worker.requests[0]).toMatchObject(options);
});

test('trackers are live by default', async () => {
  const { worker, analyzer } = await open();
  void analyzer.createTracker().analyze(RAW, 0);
  void analyzer.createTracker({ live: false }).analyze(RAW, 0);
  const expected = [
    { tracker: 0, live: true },
    { tracker: 1, live: false },
  ];
  await vi.waitFor(() => expect(worker.requests.slice(1)).toMatchObject(expected));
});

test('closing ends the worker at once', async () => {
  const { worker, analyzer, canvas } = await open();
  const waiting = expect(analyzer.analyze(canvas)).rejects.toThrow('The analyzer was closed.');
  void analyzer.close();
  expect(worker.terminate).toHaveBeenCalled();
  conversions[0].resolve(new StubBitmap());
  await waiting;
});

test('after the end of the worker all requests fail with a WorkerError', async () => {
  const { worker, analyzer } = await open();
  const pending = expect(analyzer.analyze(RAW)).rejects.toThrow(WorkerError);
  await vi.waitFor(() => expect(worker.types).toEqual(['image']));
  worker.onerror({ message: 'out of memory' });
  await pending;
  await expect(analyzer.analyze(RAW)).rejects.toThrow(WorkerError);
});
