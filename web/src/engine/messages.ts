/**
 * Message protocol between the page and the worker. Requests are answered in order, under the same `id`.
 *
 * Benchmarks and tests of the built page use this protocol to run the same worker that ships.
 */

import type { Frame } from '../backend';
import type { Timings } from './stopwatch';

export type Request =
  /** First request: loads the models from a folder URL. */
  | { id: number; type: 'open'; models: string; model: string }
  | { id: number; type: 'image'; image: ImageBitmap }
  | { id: number; type: 'frame'; image: ImageBitmap; timestamp_s: number }
  | { id: number; type: 'reset' };

export type Response =
  /** Before `opened`: loaded fraction, 0..1. */
  | { id: number; type: 'progress'; fraction: number }
  | { id: number; type: 'opened'; runtime: string; labels: string[]; timings_ms: Timings }
  | { id: number; type: 'frame'; frame: Omit<Frame, 'latency_ms'>; timings_ms: Timings }
  | { id: number; type: 'reset' }
  | { id: number; type: 'error'; message: string };
