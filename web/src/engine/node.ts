/** Perceived facial expressions in Node.js, from decoded pixels. */

import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Analyzer as GenericAnalyzer, Tracker as GenericTracker, LocalOptions } from './api.ts';
import { DEFAULT_MODEL } from './defaults.ts';
import { openLocalAnalyzer } from './local.ts';
import { type OrtModule, ortRuntime } from './ort.ts';
import { type RawImage, rawPixels } from './pixels.ts';
import { Stopwatch } from './stopwatch.ts';

export type { AnalyzerOptions, LocalOptions, TrackerOptions } from './api.ts';
export type { OrtModule } from './ort.ts';
export type { RawImage } from './pixels.ts';
export type { Expression, Face, FrameResult, HeadPose, ImageResult, Quality } from './results.ts';
export type Analyzer = GenericAnalyzer<RawImage>;
export type Tracker = GenericTracker<RawImage>;

/**
 * Load the models, by default those of this package, and return an analyzer. Rejects with a message for the user.
 *
 * @example
 * const mien = await createAnalyzer();
 * const image = sharp('a.jpg', { ignoreIcc: true }).rotate().toColourspace('srgb');
 * const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
 * const { faces } = await mien.analyze({ data, width: info.width, height: info.height });
 */
export async function createAnalyzer(options: LocalOptions = {}): Promise<Analyzer> {
  const { model = DEFAULT_MODEL, threads, runtime, provider = 'cpu' } = options;
  const openRuntime = async () => ortRuntime(runtime ?? (await importRuntime()), { provider, threads });
  return openLocalAnalyzer(
    {
      folder: modelFolder(options.models),
      model,
      runtimes: [openRuntime],
      threads,
      fetch: options.fetch ?? fetchFile,
      report: options.onProgress ?? (() => undefined),
      stopwatch: new Stopwatch(),
    },
    rawPixels,
    { live: false, maxFaces: options.maxFaces },
  );
}

async function importRuntime(): Promise<OrtModule> {
  try {
    return await import('onnxruntime-node');
  } catch (cause) {
    throw new Error('onnxruntime-node could not be loaded; install it: npm install onnxruntime-node', { cause });
  }
}

/** Return the URL of a folder, given as a path or URL. */
function modelFolder(models?: string | URL): URL {
  if (models === undefined) return new URL('../../models/', import.meta.url);
  const isUrl = models instanceof URL || /^(https?|file):/.test(models);
  const url = isUrl ? String(models) : pathToFileURL(resolve(String(models))).href;
  return new URL(`${url.replace(/\/$/, '')}/`);
}

/** Fetch a URL, also of a file. */
async function fetchFile(...[input, init]: Parameters<typeof fetch>): Promise<Response> {
  const url = new URL(input instanceof Request ? input.url : input);
  return url.protocol === 'file:' ? new Response(await readFile(url)) : fetch(input, init);
}
