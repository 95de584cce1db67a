/** Level and speech segments of the last 30 seconds. */

import type { VoiceSegment, VoiceUpdate } from '../voice/analyzer';
import { SPAN_S } from './history';

export interface Peak {
  time_s: number;
  /** Largest absolute sample of a block. */
  value: number;
}

export class VoiceHistory {
  readonly peaks: Peak[] = [];
  readonly segments: VoiceSegment[] = [];
  /** The speech that continues, as far as it is analyzed; null in a pause. */
  speech: { start_s: number; end_s: number } | null = null;

  addPeak(value: number, time_s: number): void {
    this.peaks.push({ time_s, value });
    while (this.peaks[0].time_s < time_s - SPAN_S) this.peaks.shift();
  }

  add({ segments, end_s, speechStart_s }: VoiceUpdate, now_s: number): void {
    this.speech = speechStart_s === null ? null : { start_s: speechStart_s, end_s };
    this.segments.push(...segments);
    while (this.segments.length > 0 && this.segments[0].end_s < now_s - SPAN_S) this.segments.shift();
  }
}
