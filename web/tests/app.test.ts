/** State of the page: sources, backends and the analysis loop, with stubs for the display and the engine. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Backend, Frame, OpenOptions } from '../src/backend';
import { WorkerError } from '../src/engine/workerError';
import { TokenError } from '../src/server/errors';
import { App } from '../src/ui/app';
import { openCamera } from '../src/ui/camera';
import { installDocument } from './dom';

const { engine, decodeImage, results, frames } = vi.hoisted(() => ({
  engine: { open: vi.fn() },
  decodeImage: vi.fn(),
  results: {
    showRuntime: vi.fn(),
    start: vi.fn(),
    clear: vi.fn(),
    suspend: vi.fn(),
    showImage: vi.fn(),
    showFrame: vi.fn(),
    forgetFaces: vi.fn(),
  },
  frames: { next: vi.fn() },
}));
const viewer = vi.hoisted(() => ({
  frame: null as Frame | null,
  source: { media: null, width: 0 },
  video: {},
  clear: vi.fn(),
  play: vi.fn(),
  showImage: vi.fn(),
  showVideo: vi.fn(),
  showCamera: vi.fn(),
  showProgress: vi.fn(),
}));

const askToSend = vi.hoisted(() => vi.fn());

const { stubClass } = vi.hoisted(() => ({
  /** Return a class whose objects have the members of a stub. */
  stubClass: (stub: object) =>
    class {
      constructor() {
        Object.assign(this, stub);
      }
    },
}));

vi.mock('../src/device/backend', () => ({ openDeviceBackend: (options: OpenOptions) => engine.open(options) }));
vi.mock('../src/server/backend', () => ({ openServerBackend: (options: OpenOptions) => engine.open(options) }));
vi.mock('../src/ui/results', () => ({ Results: stubClass(results) }));
vi.mock('../src/ui/viewer', () => ({ Viewer: stubClass(viewer) }));
vi.mock('../src/ui/frameSource', () => ({ FrameSource: stubClass(frames) }));
vi.mock('../src/ui/files', () => ({ decodeImage }));
vi.mock('../src/ui/consent', () => ({ askForCamera: async () => true, askToSend: () => askToSend() }));
vi.mock('../src/ui/camera', () => ({
  openCamera: vi.fn(),
  describeCamera: ({ id }: { id: string }) => ({ deviceId: id, isUserFacing: true }),
  stopCamera: (stream: { stop(): void }) => stream.stop(),
}));

const FACE = { bbox_xyxy: [1, 2, 3, 4], landmarks_xy: [[1, 2]], quality: { size_px: 2 } };
const FRAME = { frame_index: 0, timestamp_s: 0, width: 10, height: 20, latency_ms: 1, faces: [] } as Frame;
const onSourceChange = vi.fn();
const loadModel = vi.fn();
let element: ReturnType<typeof installDocument>['element'];

function stubBackend(model = 'expression') {
  return {
    mode: 'device',
    model,
    labels: ['neutral'],
    abstainBelow: 0.5,
    runtime: 'WebAssembly',
    analyzeImage: vi.fn(async () => FRAME),
    analyzeFrame: vi.fn(async () => FRAME),
    reset: vi.fn(async () => undefined),
    close: vi.fn(),
  } satisfies Backend;
}

function stubStream(id: string) {
  const stop = vi.fn();
  return { id, stop, getVideoTracks: () => [new EventTarget()] } as unknown as MediaStream & { stop: typeof stop };
}

function images(...names: string[]): File[] {
  return names.map((name) => new File([], name));
}

/** Choose an image of the gallery. */
function select(index: number): void {
  element('gallery-list').children[index].children[0].dispatchEvent(new Event('click'));
}

/** Return a promise and the function that resolves it. */
function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  return { promise, resolve, reject };
}

beforeEach(() => {
  ({ element } = installDocument());
  engine.open.mockReset().mockImplementation(async () => stubBackend());
  decodeImage.mockReset().mockResolvedValue({ bitmap: {}, size: { width: 10, height: 20 }, scale: 1 });
  frames.next.mockReset().mockReturnValue(new Promise(() => undefined));
  vi.mocked(openCamera).mockReset();
  askToSend.mockReset().mockResolvedValue(true);
  loadModel.mockReset().mockResolvedValue('expression');
});

afterEach(() => {
  vi.clearAllMocks();
  vi.unstubAllGlobals();
});

test('a model whose download stalls does not block the next one, and is closed when it opens late', async () => {
  const app = new App({ onSourceChange, loadModel });
  const late = deferred<Backend>();
  engine.open.mockReturnValueOnce(late.promise);
  void app.openImages(images('a.png'));
  await vi.waitFor(() => expect(engine.open).toHaveBeenCalled());
  const { signal } = engine.open.mock.calls[0][0];
  engine.open.mockResolvedValueOnce(stubBackend('mobile'));
  loadModel.mockResolvedValue('mobile');
  await app.restart();
  expect(signal.aborted).toBe(true);
  expect(results.showImage).toHaveBeenCalledOnce();
  const backend = stubBackend();
  late.resolve(backend);
  await vi.waitFor(() => expect(backend.close).toHaveBeenCalled());
  app.viewer.frame = FRAME;
  expect(app.report?.model).toBe('mobile');
});

test('after the end of the analysis worker the next image of a gallery opens another one', async () => {
  const app = new App({ onSourceChange, loadModel });
  const dead = stubBackend();
  dead.analyzeImage.mockRejectedValue(new WorkerError('out of memory'));
  engine.open.mockResolvedValueOnce(dead);
  await app.openImages(images('a.png', 'b.png'));
  expect(dead.close).toHaveBeenCalled();
  expect(engine.open).toHaveBeenCalledTimes(2);
  const { children } = element('gallery-list');
  expect(children.map((item) => item.children[0].children[1].textContent)).toEqual(['failed', 'no face']);
  expect(results.showRuntime).toHaveBeenCalledOnce();
});

test('a worker that ends after the run was aborted is not used again', async () => {
  const app = new App({ onSourceChange, loadModel });
  const dead = stubBackend();
  const analysis = deferred<Frame>();
  dead.analyzeImage.mockReturnValueOnce(analysis.promise);
  engine.open.mockResolvedValueOnce(dead);
  void app.openImages(images('a.png'));
  await vi.waitFor(() => expect(dead.analyzeImage).toHaveBeenCalled());
  const next = app.openImages(images('b.png'));
  analysis.reject(new WorkerError('out of memory'));
  await next;
  expect(dead.close).toHaveBeenCalled();
  expect(engine.open).toHaveBeenCalledTimes(2);
});

test('progress after the source was closed is not shown', async () => {
  const app = new App({ onSourceChange, loadModel });
  engine.open.mockReturnValueOnce(new Promise(() => undefined));
  void app.openImages(images('a.png'));
  await vi.waitFor(() => expect(engine.open).toHaveBeenCalled());
  app.stop();
  engine.open.mock.calls[0][0].progress(0.5);
  expect(viewer.showProgress).toHaveBeenLastCalledWith(null);
});

test('the faces of a reduced image are in coordinates of the file', async () => {
  const app = new App({ onSourceChange, loadModel });
  decodeImage.mockResolvedValue({ bitmap: {}, size: { width: 8000, height: 40 }, scale: 2 });
  const backend = stubBackend();
  backend.analyzeImage.mockResolvedValue({ ...FRAME, faces: [FACE] } as unknown as Frame);
  engine.open.mockResolvedValueOnce(backend);
  await app.openImages(images('a.png'));
  const [frame] = results.showImage.mock.calls[0];
  expect(frame).toMatchObject({ width: 8000, height: 40 });
  expect(frame.faces).toEqual([{ bbox_xyxy: [2, 4, 6, 8], landmarks_xy: [[2, 4]], quality: { size_px: 4 } }]);
});

test('a camera that opens late does not replace the file that was opened meanwhile', async () => {
  const app = new App({ onSourceChange, loadModel });
  const camera = deferred<MediaStream>();
  vi.mocked(openCamera).mockReturnValueOnce(camera.promise);
  const opening = app.openCamera();
  await vi.waitFor(() => expect(openCamera).toHaveBeenCalled());
  await app.openImages(images('a.png'));
  const stream = stubStream('front');
  camera.resolve(stream);
  await opening;
  expect(stream.stop).toHaveBeenCalled();
  expect(onSourceChange).toHaveBeenLastCalledWith('image', '');
});

test('the open file stays when the camera is denied', async () => {
  const app = new App({ onSourceChange, loadModel });
  await app.openImages(images('a.png'));
  vi.mocked(openCamera).mockRejectedValueOnce(new Error('not allowed'));
  await app.openCamera();
  expect(onSourceChange).toHaveBeenLastCalledWith('image', '');
  expect(element('notice').textContent).toBe('not allowed');
});

test('another camera is opened after the first is released, and the controls stay meanwhile', async () => {
  const app = new App({ onSourceChange, loadModel });
  const front = stubStream('front');
  vi.mocked(openCamera).mockResolvedValueOnce(front);
  void app.openCamera();
  await vi.waitFor(() => expect(onSourceChange.mock.calls).toEqual([['camera', 'front']]));
  vi.mocked(openCamera).mockImplementationOnce(async () => {
    expect(front.stop).toHaveBeenCalled();
    return stubStream('rear');
  });
  void app.openCamera('rear');
  await vi.waitFor(() => expect(onSourceChange).toHaveBeenCalledTimes(2));
  expect(onSourceChange).toHaveBeenLastCalledWith('camera', 'rear');
  vi.mocked(openCamera).mockRejectedValueOnce(new Error('in use'));
  await app.openCamera('front');
  expect(onSourceChange).toHaveBeenLastCalledWith(null, '');
});

test('the faces of a video are forgotten after a seek backwards', async () => {
  const app = new App({ onSourceChange, loadModel });
  const times_s = [1, 2, 0.5];
  frames.next.mockImplementation(async () => {
    const time_s = times_s.shift();
    return time_s === undefined
      ? new Promise(() => undefined)
      : { bitmap: {}, time_s, size: { width: 1920, height: 1080 }, scale: 1.5 };
  });
  void app.openVideo(new File([], 'a.mp4'));
  await vi.waitFor(() => expect(results.showFrame).toHaveBeenCalledTimes(3));
  expect(results.forgetFaces).toHaveBeenCalledTimes(2);
});

test('a frame that is shown again is not a seek', async () => {
  const app = new App({ onSourceChange, loadModel });
  for (const time_s of [1, 1]) {
    frames.next.mockResolvedValueOnce({ bitmap: {}, time_s, size: { width: 10, height: 20 }, scale: 1 });
  }
  void app.openVideo(new File([], 'a.mp4'));
  await vi.waitFor(() => expect(results.showFrame).toHaveBeenCalledTimes(2));
  expect(results.forgetFaces).toHaveBeenCalledOnce();
});

test('the faces of a reduced video frame are in pixels of the video, and its results have the name of the file', async () => {
  const app = new App({ onSourceChange, loadModel });
  const backend = stubBackend();
  backend.analyzeFrame.mockResolvedValue({ ...FRAME, faces: [FACE] } as unknown as Frame);
  engine.open.mockResolvedValueOnce(backend);
  frames.next.mockResolvedValueOnce({ bitmap: {}, time_s: 0, size: { width: 1920, height: 1080 }, scale: 1.5 });
  void app.openVideo(new File([], 'clip.mp4'));
  await vi.waitFor(() => expect(results.showFrame).toHaveBeenCalled());
  const [frame] = results.showFrame.mock.calls[0];
  expect(frame).toMatchObject({ width: 1920, height: 1080 });
  expect(frame.faces[0]).toMatchObject({ bbox_xyxy: [1.5, 3, 4.5, 6], quality: { size_px: 3 } });
  app.viewer.frame = frame;
  expect(app.report?.images[0].name).toBe('clip.mp4');
});

test('a request that hangs ends with its run and does not delay the next one', async () => {
  const app = new App({ onSourceChange, loadModel });
  const hung = { ...stubBackend(), mode: 'server' as const };
  const answer = deferred<Frame>();
  hung.analyzeImage.mockReturnValueOnce(answer.promise);
  hung.close.mockImplementation(() => answer.reject(new Error('closed')));
  engine.open.mockResolvedValueOnce(hung);
  await app.setMode('server');
  void app.openImages(images('a.png'));
  await vi.waitFor(() => expect(hung.analyzeImage).toHaveBeenCalled());
  app.stop();
  await app.setMode('device');
  await app.openImages(images('b.png'));
  expect(engine.open).toHaveBeenCalledTimes(2);
  expect(results.showImage).toHaveBeenCalledOnce();
});

test('a server that has answered is used again', async () => {
  const app = new App({ onSourceChange, loadModel });
  engine.open.mockResolvedValueOnce({ ...stubBackend(), mode: 'server' });
  await app.setMode('server');
  await app.openImages(images('a.png'));
  await app.openImages(images('b.png'));
  expect(engine.open).toHaveBeenCalledOnce();
});

test('the message of a failed analysis and the token form stay while the user steps through the images', async () => {
  const app = new App({ onSourceChange, loadModel });
  engine.open.mockRejectedValue(new TokenError('needs a token'));
  await app.openImages(images('a.png', 'b.png'));
  viewer.showProgress.mockClear();
  select(1);
  await vi.waitFor(() => expect(viewer.showImage).toHaveBeenCalledTimes(2));
  expect(element('notice').textContent).toBe('needs a token');
  expect(element('token-form').hidden).toBe(false);
  expect(viewer.showProgress).not.toHaveBeenCalled();
});

test('the message of a failed analysis disappears when another model is selected', async () => {
  const app = new App({ onSourceChange, loadModel });
  engine.open.mockRejectedValueOnce(new Error('broken model'));
  await app.openImages(images('a.png'));
  expect(element('notice').textContent).toBe('broken model');
  await app.restart();
  expect(results.showImage).toHaveBeenCalledOnce();
  expect(element('notice').textContent).toBe('');
});

test('an image that is not analyzed yet is shown without the faces of another one', async () => {
  const app = new App({ onSourceChange, loadModel });
  const backend = stubBackend();
  const second = deferred<Frame>();
  backend.analyzeImage.mockResolvedValueOnce(FRAME).mockReturnValueOnce(second.promise);
  engine.open.mockResolvedValueOnce(backend);
  const run = app.openImages(images('a.png', 'b.png'));
  await vi.waitFor(() => expect(backend.analyzeImage).toHaveBeenCalledTimes(2));
  expect(results.suspend).not.toHaveBeenCalled();
  select(1);
  expect(results.suspend).toHaveBeenCalledWith('This image has not been analyzed.');
  second.resolve(FRAME);
  await run;
  expect(results.showImage).toHaveBeenLastCalledWith(expect.anything(), 'b.png');
});

test('an image of a gallery that cannot be decoded has the code of Python', async () => {
  const app = new App({ onSourceChange, loadModel });
  const backend = stubBackend();
  backend.analyzeImage.mockRejectedValueOnce(new Error('failed'));
  engine.open.mockResolvedValueOnce(backend);
  decodeImage.mockReset().mockRejectedValueOnce(new Error('broken')).mockResolvedValue({ bitmap: {}, scale: 1 });
  await app.openImages(images('a.png', 'b.png', 'c.png'));
  app.viewer.frame = FRAME;
  expect(app.report?.images.map(({ error }) => error)).toEqual([
    { code: 'image_unreadable', message: 'a.png cannot be opened as an image by this browser. Use JPEG, PNG or WebP.' },
    { code: 'error', message: 'failed' },
    null,
  ]);
  expect(results.suspend).toHaveBeenCalledWith('This image could not be analyzed.');
  // It hides the runtime, which does not come back for the next image.
  expect(results.clear).toHaveBeenCalledOnce();
});

test('consent to send a file does not hold for one that is opened meanwhile', async () => {
  const app = new App({ onSourceChange, loadModel });
  await app.openImages(images('a.png'));
  const consent = deferred<boolean>();
  askToSend.mockReturnValueOnce(consent.promise);
  const change = app.setMode('server');
  await app.openImages(images('secret.png'));
  consent.resolve(true);
  expect(await change).toBe('device');
  expect(engine.open).toHaveBeenCalledOnce();
});
