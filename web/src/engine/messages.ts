/**
 * What the page and the worker say to each other. Every request is answered under its `id`, in order.
 *
 * Measurements and tests of the built page start the worker themselves and speak this, so that they run what ships.
 */

import type { Frame } from '../reader';
import type { PartsMs } from './stopwatch';

export type Request =
  /** First of all: loads the models from a folder, given by its address. */
  | { id: number; type: 'open'; models: string; model: string }
  | { id: number; type: 'picture'; image: ImageBitmap }
  | { id: number; type: 'frame'; image: ImageBitmap; timestamp_s: number }
  | { id: number; type: 'reset' };

export type Answer =
  /** Before `opened`: how much is loaded, 0..1. */
  | { id: number; type: 'progress'; share: number }
  | { id: number; type: 'opened'; backend: string; labels: string[] }
  | { id: number; type: 'frame'; frame: Omit<Frame, 'latency_ms'>; parts_ms: PartsMs }
  | { id: number; type: 'reset' }
  | { id: number; type: 'error'; message: string };
