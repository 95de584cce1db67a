/** Message protocol between the page and the voice worker. Requests are answered in order. */

import type { VoiceUpdate } from './analyzer';

export type VoiceRequest =
  /** First request: loads the models from a folder URL, for audio of a sample rate. */
  | { type: 'open'; models: string; rate_hz: number }
  /** Mono samples, consecutive but after a gap; `end_s` is the time of the last one. */
  | { type: 'audio'; samples: Float32Array<ArrayBuffer>; end_s: number; isAfterGap: boolean };

export type VoiceResponse =
  /** Before `opened`: loaded fraction, 0..1. */
  | { type: 'progress'; fraction: number }
  | { type: 'opened' }
  | ({ type: 'update' } & VoiceUpdate)
  | { type: 'error'; message: string };
