import { afterEach, expect, test, vi } from 'vitest';
import type { Models } from '../src/engine/analyzer';
import { toPixels } from '../src/engine/browserImages';
import { blank } from '../src/engine/imaging';
import { createAnalyzer } from '../src/engine/index';
import { LocalAnalyzer } from '../src/engine/local';
import type { Runtime } from '../src/engine/network';
import { createAnalyzer as createNodeAnalyzer } from '../src/engine/node';
import { Stopwatch } from '../src/engine/stopwatch';
import { createAnalyzer as createWorkerAnalyzer } from '../src/engine/worker';

/** Sequence of conversions and detector runs. */
let events: string[] = [];

/** Return an analyzer whose detector finds nothing. */
function openAnalyzer(isLive: boolean): LocalAnalyzer<object> {
  const detector = {
    async run(_: unknown, [, height, width]: readonly number[]) {
      events.push('detect');
      const cells = [8, 16, 32].reduce((total, stride) => total + (height * width) / stride ** 2, 0);
      return [new Float32Array(cells), new Float32Array(16 * cells)];
    },
  };
  const manifest = { labels: ['neutral'], input: { size: 16 }, abstain_below: 0.5 };
  const models = { detector, manifest } as unknown as Models;
  const convert = async (image: object) => {
    events.push(image instanceof Blob ? 'decode' : 'grab');
    return blank(64, 64);
  };
  return new LocalAnalyzer('open', { models, runtime: {} as Runtime }, new Stopwatch(), convert, { live: isLive });
}

afterEach(() => {
  events = [];
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test('a file is decoded when it is its turn', async () => {
  const analyzer = openAnalyzer(true);
  await Promise.all([analyzer.analyze(new Blob()), analyzer.analyze(new Blob())]);
  const [first, second] = [events.indexOf('decode'), events.lastIndexOf('decode')];
  expect(events.slice(first, second)).toContain('detect');
});

test('the pixels of anything but a file are taken at once', async () => {
  const analyzer = openAnalyzer(true);
  const results = Promise.all([analyzer.analyze({}), analyzer.analyze({})]);
  expect(events).toEqual(['grab', 'grab']);
  await results;
});

test.each([
  [false, undefined, 3],
  [false, true, 1],
  [true, undefined, 1],
  [true, false, 3],
])(
  'trackers of an analyzer that is live: %j, with live: %j, have %i detections on a slow device',
  async (isLive, live, count) => {
    let now_ms = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => {
      now_ms += 400;
      return now_ms;
    });
    const tracker = openAnalyzer(isLive).createTracker(live === undefined ? {} : { live });
    for (const time_s of [0, 0.1, 0.2]) await tracker.analyze({}, time_s);
    const frames = events.join(' ').split('grab').slice(1);
    expect(frames.filter((frame) => frame.includes('detect'))).toHaveLength(count);
  },
);

test('files are decoded without color conversion; the pixels of an element are taken as shown', async () => {
  class StubBitmap {
    readonly width = 1;
    readonly height = 1;
    close(): void {}
  }
  class StubCanvas {
    width = 1;
    height = 1;
    getContext() {
      const getImageData = () => blank(1, 1);
      return { canvas: this, fillRect: vi.fn(), drawImage: vi.fn(), getImageData };
    }
  }
  const createImageBitmap = vi.fn(async () => new StubBitmap());
  vi.stubGlobal('ImageBitmap', StubBitmap);
  vi.stubGlobal('OffscreenCanvas', StubCanvas);
  vi.stubGlobal('createImageBitmap', createImageBitmap);
  const file = new Blob();
  await toPixels(file);
  expect(createImageBitmap.mock.lastCall).toEqual([file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' }]);
  const image = {} as HTMLImageElement;
  await toPixels(image);
  expect(createImageBitmap.mock.lastCall).toEqual([image]);
});

test.each([0, -1, 1.5, NaN, true, null, '2'])('maxFaces: %j is rejected before models are loaded', async (value) => {
  vi.stubGlobal('document', { baseURI: 'http://localhost/' });
  const fetch = vi.fn();
  const options = { fetch, maxFaces: value as number };
  const shown = typeof value === 'string' ? `"${value}"` : value;
  const error = new RangeError(`maxFaces is ${shown}; expected an integer, 1 or more (without it, all faces are kept)`);
  await expect(createNodeAnalyzer(options)).rejects.toThrow(error);
  await expect(createAnalyzer(options)).rejects.toThrow(error);
  expect(fetch).not.toHaveBeenCalled();
});

test.each([
  ['Node.js', () => createNodeAnalyzer({ models: 'http://' })],
  ['browsers', () => createAnalyzer({ models: 'http://' })],
  // Node.js has no workers of browsers.
  ['a worker', () => createWorkerAnalyzer()],
])('options that are invalid reject in %s', async (_, create) => {
  const analyzer = create();
  await expect(analyzer).rejects.toThrow();
});
