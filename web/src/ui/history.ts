/** What was read of each face over the last moments. */

import type { Frame } from '../reader';
import { shown } from './words';

export const SPAN_S = 30;
/** Between two samples that are further apart a face was not seen. */
export const GAP_S = 0.8;

export interface Sample {
  time_s: number;
  label: string | null;
  /** In the order of the labels. */
  shares: number[];
}

/** Samples of every face by its number, at most `SPAN_S` old. */
export class History {
  readonly tracks = new Map<number, Sample[]>();
  now_s = 0;

  constructor(readonly labels: readonly string[]) {}

  /** Adds a frame of a moving picture at a time that only grows. */
  add(frame: Frame, now_s: number): void {
    this.now_s = now_s;
    for (const face of frame.faces) {
      const expression = shown(face);
      if (!expression || face.track_id === undefined) continue;
      const shares = this.labels.map((label) => expression.probabilities[label] ?? 0);
      const track = this.tracks.get(face.track_id) ?? [];
      track.push({ time_s: now_s, label: expression.label, shares });
      this.tracks.set(face.track_id, track);
    }
    for (const [number, track] of this.tracks) {
      const first = track.findIndex((sample) => sample.time_s >= now_s - SPAN_S);
      if (first < 0) this.tracks.delete(number);
      else if (first > 0) track.splice(0, first);
    }
  }
}

/** Runs of samples without a gap. */
export function stretches(track: readonly Sample[]): Sample[][] {
  const runs: Sample[][] = [];
  for (const sample of track) {
    const run = runs.at(-1);
    if (run && sample.time_s - run[run.length - 1].time_s <= GAP_S) run.push(sample);
    else runs.push([sample]);
  }
  return runs;
}

/** How much of the time each label was shown, the most first; null is "not sure". */
export function labelShares(track: readonly Sample[]): [string | null, number][] {
  const counts = new Map<string | null, number>();
  for (const { label } of track) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts]
    .map(([label, count]): [string | null, number] => [label, count / track.length])
    .sort(([, a], [, b]) => b - a);
}
