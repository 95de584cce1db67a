/** The backend that analyzes images in a worker on this device; no image data leaves it. */

import type { FrameResult, ImageResult } from '@mien/browser';
import { type Analyzer, type BrowserImage, connectWorker } from '@mien/browser/custom-worker';
import type { Backend, Frame, OpenBackend } from '../backend';
import { unlessAborted } from '../waiting';

/** Open the on-device backend; its models are loaded from models/ next to the page. */
export const openDeviceBackend: OpenBackend = async ({ model, progress, signal }) => {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'mien' });
  const end = () => worker.terminate();
  signal.addEventListener('abort', end);
  const options = { model, ...(progress && { onProgress: progress }) };
  try {
    return deviceBackend(await unlessAborted(connectWorker(worker, options), signal));
  } finally {
    signal.removeEventListener('abort', end);
  }
};

function deviceBackend(analyzer: Analyzer<BrowserImage>): Backend {
  const { runtime, model, labels, abstainBelow } = analyzer;
  const tracker = analyzer.createTracker();
  return {
    mode: 'device',
    runtime,
    model,
    labels,
    abstainBelow,
    analyzeImage: (image) => timed(() => analyzer.analyze(image)),
    analyzeFrame: (image, timestamp_s) => timed(() => tracker.analyze(image, timestamp_s)),
    reset: () => tracker.reset(),
    close: () => void analyzer.close(),
  };
}

async function timed(analyze: () => Promise<ImageResult | FrameResult>): Promise<Frame> {
  const start = performance.now();
  const result = await analyze();
  return { frame_index: 0, timestamp_s: 0, ...result, latency_ms: performance.now() - start };
}
