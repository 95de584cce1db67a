/** Reads faces away from the page's own thread; see `messages.ts` for what it is asked and answers. */

import { Analyzer } from './analyzer';
import { FaceFollower } from './following';
import type { Pixels } from './imaging';
import type { Answer, Request } from './messages';
import { loadModels } from './models';
import { Stopwatch } from './stopwatch';

const stopwatch = new Stopwatch();
const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })!;
let analyzer: Analyzer;
let follower: FaceFollower;
let frames = 0;

addEventListener('message', async ({ data: request }: MessageEvent<Request>) => {
  postMessage(await answer(request).catch((error: Error) => ({ id: request.id, type: 'error', message: error.message })));
});

async function answer(request: Request): Promise<Answer> {
  const { id } = request;
  switch (request.type) {
    case 'open':
      return open(request);
    case 'picture':
      return { id, type: 'frame', ...(await read(request.image, 0, 0, (image) => analyzer.analyze(image))) };
    case 'frame': {
      const { image, timestamp_s } = request;
      const step = (pixels: Pixels) => follower.step(pixels, timestamp_s);
      return { id, type: 'frame', ...(await read(image, frames++, timestamp_s, step)) };
    }
    case 'reset':
      startOver();
      return { id, type: 'reset' };
  }
}

async function open({ id, models: folder, model }: Request & { type: 'open' }): Promise<Answer> {
  const tell = (share: number) => postMessage({ id, type: 'progress', share } satisfies Answer);
  const { models, backend } = await loadModels(folder, model, tell);
  analyzer = new Analyzer(models, stopwatch);
  startOver();
  return { id, type: 'opened', backend, labels: models.manifest.labels };
}

function startOver(): void {
  follower = new FaceFollower(analyzer, stopwatch);
  frames = 0;
}

async function read(image: ImageBitmap, frame_index: number, timestamp_s: number, see: (image: Pixels) => ReturnType<Analyzer['analyze']>) {
  const { width, height } = image;
  const pixels = await stopwatch.time('pixels', () => pixelsOf(image));
  const faces = await see(pixels);
  return { frame: { frame_index, timestamp_s, width, height, faces }, parts_ms: stopwatch.take() };
}

/** The pixels of a bitmap, which is closed; what is transparent lies over white. */
function pixelsOf(image: ImageBitmap): Pixels {
  const { width, height } = image;
  if (canvas.canvas.width !== width || canvas.canvas.height !== height) Object.assign(canvas.canvas, { width, height });
  canvas.fillStyle = 'white';
  canvas.fillRect(0, 0, width, height);
  canvas.drawImage(image, 0, 0);
  image.close();
  return canvas.getImageData(0, 0, width, height);
}
