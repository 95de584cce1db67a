/** Parts of the page: viewer, notices, gallery and camera menu. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Backend, Frame } from '../src/backend';
import type * as Overlay from '../src/ui/overlay';
import type { Viewer } from '../src/ui/viewer';
import { installDocument, type StubElement } from './dom';

vi.mock('../src/ui/overlay', async (original) => ({
  ...(await original<typeof Overlay>()),
  Overlay: class {
    clear(): void {}
    draw(): void {}
  },
}));

vi.mock('../src/ui/faceList', () => ({
  FaceList: class {
    clear(): void {}
    update(): void {}
    drawTimelines(): void {}
  },
}));

const FRAME: Frame = { frame_index: 0, timestamp_s: 0, width: 10, height: 20, latency_ms: 1, faces: [] };
let element: (id: string) => StubElement;

beforeEach(() => {
  vi.useFakeTimers();
  ({ element } = installDocument());
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.resetModules();
});

async function openViewer() {
  const { Viewer } = await import('../src/ui/viewer');
  const onPlaybackError = vi.fn();
  return { viewer: new Viewer(onPlaybackError), onPlaybackError, video: element('video') };
}

test.each(['paused', 'ended'])(
  'the faces of a video that is %s stay, until it plays without a newer frame',
  async (state) => {
    const { viewer, video } = await openViewer();
    viewer.drawLive(FRAME);
    video[state] = true;
    vi.advanceTimersByTime(10_000);
    expect(viewer.frame).toBe(FRAME);
    video[state] = false;
    video.dispatchEvent(new Event('playing'));
    vi.advanceTimersByTime(10_000);
    expect(viewer.frame).toBeNull();
  },
);

test('a video that cannot be decoded further is reported', async () => {
  const { video, onPlaybackError } = await openViewer();
  video.hidden = true;
  video.dispatchEvent(new Event('error'));
  expect(onPlaybackError).not.toHaveBeenCalled();
  video.hidden = false;
  video.dispatchEvent(new Event('error'));
  expect(onPlaybackError).toHaveBeenCalledWith(expect.stringContaining('cannot be played further'));
});

test('a video whose images cannot be decoded is not opened', async () => {
  const { viewer, video } = await openViewer();
  const opening = expect(viewer.showVideo(new Blob(), 'a.mov')).rejects.toThrow('a.mov cannot be played');
  video.videoWidth = 0;
  video.dispatchEvent(new Event('loadeddata'));
  await opening;
  const playable = viewer.showVideo(new Blob(), 'a.mov');
  video.videoWidth = 640;
  video.dispatchEvent(new Event('loadeddata'));
  await playable;
});

test('a frame of a large video is reduced, and keeps the size of the video', async () => {
  const { FrameSource } = await import('../src/ui/frameSource');
  const createImageBitmap = vi.fn(async () => 'reduced');
  vi.stubGlobal('createImageBitmap', createImageBitmap);
  vi.stubGlobal('HTMLMediaElement', { HAVE_CURRENT_DATA: 2 });
  const size = { videoWidth: 1920, videoHeight: 1080, readyState: 2, currentTime: 3 };
  const video = { ...size, requestVideoFrameCallback: () => 0 } as unknown as HTMLVideoElement;
  const frame = await new FrameSource(video, new AbortController().signal).next();
  expect(frame).toEqual({ bitmap: 'reduced', size: { width: 1920, height: 1080 }, scale: 1.5, time_s: 3 });
  expect(createImageBitmap).toHaveBeenCalledWith(video, expect.objectContaining({ resizeWidth: 1280 }));
});

test('a video that does not start by itself stays paused; another failure is an error', async () => {
  const { viewer, video } = await openViewer();
  for (const name of ['AbortError', 'NotAllowedError', 'NotSupportedError']) {
    Object.assign(video, {
      paused: true,
      currentTime: 0,
      play: async () => Promise.reject(new DOMException('', name)),
    });
    const played = expect(viewer.play());
    await (name === 'NotSupportedError' ? played.rejects.toThrow(DOMException) : played.resolves.toBeUndefined());
  }
});

test('without video frame callbacks a frame is new where the time has changed, after a seek', async () => {
  const { FrameSource } = await import('../src/ui/frameSource');
  vi.stubGlobal('HTMLMediaElement', { HAVE_CURRENT_DATA: 2 });
  vi.stubGlobal('createImageBitmap', async () => 'bitmap');
  let animate: () => void = () => undefined;
  vi.stubGlobal('requestAnimationFrame', (callback: () => void) => {
    animate = callback;
    return 7;
  });
  const cancelAnimationFrame = vi.fn();
  vi.stubGlobal('cancelAnimationFrame', cancelAnimationFrame);
  const video = { videoWidth: 1, videoHeight: 1, readyState: 2, currentTime: 0, seeking: false };
  const controller = new AbortController();
  const frames = new FrameSource(video as unknown as HTMLVideoElement, controller.signal);
  expect((await frames.next())?.time_s).toBe(0);
  const onFrame = vi.fn();
  const next = frames.next().then(onFrame);
  animate();
  Object.assign(video, { currentTime: 5, seeking: true });
  animate();
  await vi.advanceTimersByTimeAsync(0);
  expect(onFrame).not.toHaveBeenCalled();
  video.seeking = false;
  animate();
  await next;
  expect(onFrame).toHaveBeenCalledWith(expect.objectContaining({ time_s: 5 }));
  controller.abort();
  expect(cancelAnimationFrame).toHaveBeenCalledWith(7);
  expect(await frames.next()).toBeNull();
});

test('waiting for a frame ends when aborted while the browser has none', async () => {
  const { FrameSource } = await import('../src/ui/frameSource');
  const controller = new AbortController();
  vi.stubGlobal('HTMLMediaElement', { HAVE_CURRENT_DATA: 2 });
  vi.stubGlobal('createImageBitmap', async () => {
    controller.abort();
    throw new DOMException('', 'InvalidStateError');
  });
  const state = { videoWidth: 1, videoHeight: 1, readyState: 2, currentTime: 0 };
  const calls = { requestVideoFrameCallback: () => 0, cancelVideoFrameCallback: () => undefined };
  const video = { ...state, ...calls } as unknown as HTMLVideoElement;
  expect(await new FrameSource(video, controller.signal).next()).toBeNull();
});

test('the same announcement is made again', async () => {
  const { Announcer } = await import('../src/ui/announcer');
  const texts: string[] = [];
  const region = {
    set textContent(text: string) {
      texts.push(text);
    },
  };
  const announcer = new Announcer(region as unknown as HTMLElement);
  for (let index = 0; index < 2; index++) {
    announcer.announceImage([]);
    vi.advanceTimersByTime(1);
  }
  announcer.announce('The microphone is off.');
  announcer.clear();
  vi.advanceTimersByTime(1);
  expect(texts).toEqual(['', 'No face found.', '', 'No face found.', '', '']);
});

test('runtime and latency stay visible for an image that has no result', async () => {
  vi.stubGlobal('window', { matchMedia: () => ({ matches: true }) });
  const { Results } = await import('../src/ui/results');
  const viewer = { draw: vi.fn(), setDescription: vi.fn(), clearFaces: vi.fn(), source: {} } as unknown as Viewer;
  const results = new Results(viewer);
  results.start({ labels: ['neutral'], abstainBelow: 0.5, runtime: 'WebAssembly' } as unknown as Backend, false);
  results.showImage(FRAME, 'a.png');
  expect(element('latency').textContent).toBe('1 ms');
  results.suspend('This image could not be analyzed.');
  expect(element('faces-hint').textContent).toBe('This image could not be analyzed.');
  expect(element('downloads').hidden).toBe(true);
  expect(element('stats').hidden).toBe(false);
  expect(element('latency').textContent).toBe('–');
});

test('the keyboard focus leaves the token form when it is hidden', async () => {
  const { Notices } = await import('../src/ui/notices');
  const notices = new Notices(() => undefined);
  element('token-form').append(element('token'));
  element('model').focus();
  notices.clear();
  expect(document.activeElement).toBe(element('model'));
  element('token').focus();
  notices.clear();
  expect(document.activeElement).toBe(element('use-camera'));
});

test('arrow keys step through the gallery, but not with a modifier', async () => {
  const { Gallery, GalleryList } = await import('../src/ui/gallery');
  const onSelect = vi.fn();
  new GalleryList(onSelect).open(new Gallery(['a', 'b'].map((name) => new File([], name))));
  const press = (modifiers: object) =>
    element('gallery').dispatchEvent(Object.assign(new Event('keydown'), { key: 'ArrowRight', ...modifiers }));
  for (const modifier of ['altKey', 'ctrlKey', 'metaKey']) press({ [modifier]: true });
  expect(onSelect).not.toHaveBeenCalled();
  press({});
  expect(onSelect).toHaveBeenCalledWith(1);
});

test('an older list of cameras does not replace a newer one, and the hidden menu loses the focus', async () => {
  const { showCameras } = await import('../src/ui/controls');
  const lists: ((devices: object[]) => void)[] = [];
  const enumerateDevices = () => new Promise((resolve) => lists.push(resolve));
  vi.stubGlobal('navigator', { mediaDevices: { enumerateDevices } });
  const cameras = ['a', 'b'].map((deviceId) => ({ kind: 'videoinput', deviceId, label: deviceId }));
  const older = showCameras('a');
  const newer = showCameras('b');
  lists[1](cameras);
  await newer;
  lists[0]([]);
  await older;
  expect(element('camera-option').hidden).toBe(false);
  expect(element('camera').children).toHaveLength(2);
  element('camera').focus();
  await showCameras('');
  expect(document.activeElement).toBe(element('use-camera'));
});

test('a face does not inherit the history of another one when a new tracker numbers them again', async () => {
  vi.stubGlobal('window', { matchMedia: () => ({ matches: true }) });
  const { Results } = await import('../src/ui/results');
  const results = new Results({ drawLive: vi.fn(), clearFaces: vi.fn(), source: {} } as unknown as Viewer);
  results.start({ labels: ['neutral'], abstainBelow: 0.5, runtime: '' } as unknown as Backend, true);
  const expression = { label: 'neutral', confidence: 1, probabilities: { neutral: 1 } };
  const frame = { ...FRAME, faces: [{ track_id: 1, expression }] } as unknown as Frame;
  const count = () => results.faceDuring(0, Infinity);
  for (const frame_index of [0, 1, 2]) results.showFrame({ ...frame, frame_index });
  expect(count()).toMatchObject({ frames: 3 });
  // A new connection to the server.
  results.showFrame(frame);
  expect(count()).toMatchObject({ frames: 1 });
  results.forgetFaces();
  expect(count()).toBeNull();
});
