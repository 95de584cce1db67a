/**
 * Message protocol between a page and its analysis worker. Requests are answered in order, under the same `id`.
 *
 * Benchmarks and tests of the built page use this protocol to run the same worker that ships.
 */

import type { RawImage } from './pixels.ts';
import type { FrameResult, ImageResult } from './results.ts';
import type { Timings } from './stopwatch.ts';

/** A bitmap is transferred, and closed by the worker; raw pixels are copied; a file is decoded by the worker. */
export type WorkerImage = ImageBitmap | Blob | RawImage;

export type Request =
  /** First request: loads the models from a folder URL. */
  | { id: number; type: 'open'; models: string; model: string; threads?: number; maxFaces?: number }
  | { id: number; type: 'image'; image: WorkerImage }
  /** The next frame of a tracker; the first one starts it, with `live` of `TrackerOptions`. */
  | { id: number; type: 'frame'; tracker: number; image: WorkerImage; timestamp_s: number; live?: boolean }
  | { id: number; type: 'reset'; tracker: number };

export type Response =
  /** Before `opened`: loaded fraction, 0..1. */
  | { id: number; type: 'progress'; fraction: number }
  | {
      id: number;
      type: 'opened';
      runtime: string;
      labels: readonly string[];
      abstainBelow: number;
      timings_ms: Timings;
    }
  | { id: number; type: 'image'; result: ImageResult; timings_ms: Timings }
  | { id: number; type: 'frame'; result: FrameResult; timings_ms: Timings }
  | { id: number; type: 'reset' }
  | { id: number; type: 'error'; message: string };
