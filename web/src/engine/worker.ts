/** Perceived facial expressions in the browser, in a worker: the page stays responsive. */

import type { AnalyzerOptions, Analyzer as GenericAnalyzer, Tracker as GenericTracker } from './api.ts';
import type { BrowserImage } from './browserImages.ts';
import { connectWorker } from './workerClient.ts';

export type { AnalyzerOptions, TrackerOptions } from './api.ts';
export type { BrowserImage } from './browserImages.ts';
export type { RawImage } from './pixels.ts';
export type { Expression, Face, FrameResult, HeadPose, ImageResult, Quality } from './results.ts';
export { WorkerError } from './workerError.ts';
export type Analyzer = GenericAnalyzer<BrowserImage>;
export type Tracker = GenericTracker<BrowserImage>;

/** Start a worker, load the models in it and return an analyzer. Rejects with a message for the user. */
export async function createAnalyzer(options: AnalyzerOptions = {}): Promise<Analyzer> {
  // Bundlers recognize this expression.
  const worker = new Worker(new URL('./workerScript.js', import.meta.url), { type: 'module', name: 'mien' });
  return connectWorker(worker, options);
}
