/** Worker that analyzes images off the main thread; see `messages.ts` for the protocol. */

import { Analyzer } from './analyzer';
import { FaceFollower } from './follower';
import type { Pixels } from './imaging';
import type { Request, Response } from './messages';
import { loadModels } from './models';
import { Stopwatch } from './stopwatch';

const stopwatch = new Stopwatch();
const canvas = new OffscreenCanvas(1, 1);
let analyzer: Analyzer;
let follower: FaceFollower;
let frameIndex = 0;

addEventListener('message', async ({ data: request }: MessageEvent<Request>) => {
  const response = await handle(request).catch((error: Error) => ({
    id: request.id,
    type: 'error',
    message: error.message,
  }));
  postMessage(response);
});

async function handle(request: Request): Promise<Response> {
  const { id } = request;
  switch (request.type) {
    case 'open':
      return open(request);
    case 'image':
      return {
        id,
        type: 'frame',
        ...(await analyze(request.image, 0, 0, (image) => analyzer.analyze(image))),
      };
    case 'frame': {
      const { image, timestamp_s } = request;
      const step = (pixels: Pixels) => follower.step(pixels, timestamp_s);
      return { id, type: 'frame', ...(await analyze(image, frameIndex++, timestamp_s, step)) };
    }
    case 'reset':
      reset();
      return { id, type: 'reset' };
  }
}

async function open({ id, models: folder, model }: Request & { type: 'open' }): Promise<Response> {
  const report = (fraction: number) => postMessage({ id, type: 'progress', fraction } satisfies Response);
  const { models, runtime } = await loadModels(folder, model, report, stopwatch);
  analyzer = new Analyzer(models, stopwatch);
  reset();
  return { id, type: 'opened', runtime, labels: models.manifest.labels, timings_ms: stopwatch.take() };
}

function reset(): void {
  follower = new FaceFollower(analyzer, stopwatch);
  frameIndex = 0;
}

async function analyze(
  image: ImageBitmap,
  frame_index: number,
  timestamp_s: number,
  detectFaces: (image: Pixels) => ReturnType<Analyzer['analyze']>,
) {
  const { width, height } = image;
  const pixels = await stopwatch.time('pixels', () => pixelsOf(image));
  const faces = await detectFaces(pixels);
  return { frame: { frame_index, timestamp_s, width, height, faces }, timings_ms: stopwatch.take() };
}

/** Return the pixels of a bitmap over a white background, and close the bitmap. */
function pixelsOf(image: ImageBitmap): Pixels {
  const { width, height } = image;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('This browser does not support 2D canvas drawing.');
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  image.close();
  return context.getImageData(0, 0, width, height);
}
