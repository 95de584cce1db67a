/** Analyzer that runs in the calling thread, for any kind of image. */

import { ImageAnalyzer } from './analyzer.ts';
import type { Analyzer, Tracker, TrackerOptions } from './api.ts';
import { FaceFollower } from './follower.ts';
import type { Pixels } from './imaging.ts';
import { type LoadedModels, type LoadOptions, loadModels } from './models.ts';
import { Queue } from './queue.ts';
import type { Face, FrameResult, ImageResult } from './results.ts';
import type { Stopwatch } from './stopwatch.ts';

/** Convert an image to pixels. */
type ToPixels<Image> = (image: Image) => Pixels | Promise<Pixels>;

/** How an analyzer of models that are loaded works. */
interface LocalSettings {
  /** Default of its trackers. */
  live: boolean;
  /** Number of faces to keep, the largest; all by default. */
  maxFaces?: number | undefined;
}

/** Load the models and open an analyzer. Rejects with a message for the user. */
export async function openLocalAnalyzer<Image>(
  options: LoadOptions,
  toPixels: ToPixels<Image>,
  settings: LocalSettings,
): Promise<Analyzer<Image>> {
  checkMaxFaces(settings.maxFaces);
  return new LocalAnalyzer(options.model, await loadModels(options), options.stopwatch, toPixels, settings);
}

/** Throw a RangeError unless a number of faces is a positive integer or left out. */
function checkMaxFaces(maxFaces: unknown): void {
  if (maxFaces === undefined || (Number.isSafeInteger(maxFaces) && Number(maxFaces) > 0)) return;
  const shown = typeof maxFaces === 'string' ? `"${maxFaces}"` : maxFaces;
  throw new RangeError(`maxFaces is ${shown}; expected an integer, 1 or more (without it, all faces are kept)`);
}

/** Analyzer of models that are loaded. */
export class LocalAnalyzer<Image> implements Analyzer<Image> {
  private readonly analyzer: ImageAnalyzer;
  private readonly queue = new Queue();

  constructor(
    readonly model: string,
    private readonly loaded: LoadedModels,
    private readonly stopwatch: Stopwatch,
    private readonly toPixels: ToPixels<Image>,
    private readonly settings: LocalSettings,
  ) {
    this.analyzer = new ImageAnalyzer(loaded.models, stopwatch, settings.maxFaces);
  }

  get labels(): readonly string[] {
    return this.loaded.models.manifest.labels;
  }

  get abstainBelow(): number {
    return this.loaded.models.manifest.abstain_below;
  }

  get runtime(): string {
    return this.loaded.runtime.name;
  }

  analyze(image: Image): Promise<ImageResult> {
    return this.run(image, (pixels) => this.analyzer.analyze(pixels));
  }

  createTracker({ live = this.settings.live }: TrackerOptions = {}): Tracker<Image> {
    const start = () => ({ follower: new FaceFollower(this.analyzer, this.stopwatch, live), frames: 0 });
    let state = start();
    return {
      analyze: async (image, timestamp_s = performance.now() / 1000): Promise<FrameResult> => {
        const { follower } = state;
        const frame_index = state.frames++;
        const result = await this.run(image, (pixels) => follower.step(pixels, timestamp_s));
        return { frame_index, timestamp_s, ...result };
      },
      reset: async () => {
        state = start();
      },
    };
  }

  close(): Promise<void> {
    return this.queue.run(() => this.loaded.runtime.close());
  }

  /**
   * Find the faces of an image after all earlier images. Its pixels are taken at once, as it may change; a file is decoded
   * when it is its turn, so that many do not fill the memory.
   */
  private run(image: Image, findFaces: (pixels: Pixels) => Promise<Face[]>): Promise<ImageResult> {
    const convert = () => this.stopwatch.time('pixels', () => this.toPixels(image));
    const conversion = image instanceof Blob ? null : convert();
    // A failure is reported when it is the image's turn.
    conversion?.catch(() => undefined);
    return this.queue.run(async () => {
      const pixels = await (conversion ?? convert());
      const { width, height } = pixels;
      return { width, height, faces: await findFaces(pixels) };
    });
  }
}
