/** Perceived facial expressions in the browser, in the calling thread. */

import type { Analyzer as GenericAnalyzer, Tracker as GenericTracker, LocalOptions } from './api.ts';
import { type BrowserImage, toPixels } from './browserImages.ts';
import { DEFAULT_MODEL, modelFolder } from './defaults.ts';
import { openLocalAnalyzer } from './local.ts';
import { ortRuntime } from './ort.ts';
import { Stopwatch } from './stopwatch.ts';
import { allowedThreads, openWebAssembly } from './webRuntime.ts';

export type { AnalyzerOptions, LocalOptions, TrackerOptions } from './api.ts';
export type { BrowserImage } from './browserImages.ts';
export type { OrtModule } from './ort.ts';
export type { RawImage } from './pixels.ts';
export type { Expression, Face, FrameResult, HeadPose, ImageResult, Quality } from './results.ts';
export type Analyzer = GenericAnalyzer<BrowserImage>;
export type Tracker = GenericTracker<BrowserImage>;

/**
 * Load the models and return an analyzer. Rejects with a message for the user.
 *
 * @example
 * const mien = await createAnalyzer({ model: 'mobile' });
 * const { faces } = await mien.analyze(document.querySelector('img'));
 */
export async function createAnalyzer(options: LocalOptions = {}): Promise<Analyzer> {
  const { model = DEFAULT_MODEL, threads, runtime, provider = 'wasm' } = options;
  const openRuntime = runtime
    ? async () => ortRuntime(runtime, { provider, threads: allowedThreads(threads) })
    : openWebAssembly;
  return openLocalAnalyzer(
    {
      folder: modelFolder(options.models),
      model,
      runtimes: [openRuntime],
      threads,
      fetch: options.fetch ?? globalThis.fetch,
      report: options.onProgress ?? (() => undefined),
      stopwatch: new Stopwatch(),
    },
    toPixels,
    { live: true, maxFaces: options.maxFaces },
  );
}
