/** Recent expressions of each face in a video. */

import type { Expression, Frame } from '../backend';
import { displayedExpression } from './format';

export const SPAN_S = 30;
/** Maximum time between two samples without a gap. */
const MAX_GAP_S = 0.8;

export interface Sample {
  time_s: number;
  label: string | null;
  /** As displayed, in the order of the labels. */
  probabilities: number[];
  /** Probabilities of this frame's own prediction; null where the displayed ones are held. */
  predicted: number[] | null;
  /** See `QualityRecord`. */
  frontality: number | null;
  visible: number;
}

/** Samples of every face by track number, at most `SPAN_S` old. */
export class History {
  readonly tracks = new Map<number, Sample[]>();
  now_s = 0;

  /** @param abstainBelow confidence below which the model gives no label. */
  constructor(
    readonly labels: readonly string[],
    readonly abstainBelow: number,
  ) {}

  /** Add a video frame at a time that never decreases. */
  add(frame: Frame, now_s: number): void {
    this.now_s = now_s;
    for (const face of frame.faces) {
      const expression = displayedExpression(face);
      if (!expression || face.track_id === undefined) continue;
      const inOrder = (one: Expression) => this.labels.map((label) => one.probabilities[label] ?? 0);
      const track = this.tracks.get(face.track_id) ?? [];
      const { frontality = null, visible = 1 } = face.quality ?? {};
      track.push({
        time_s: now_s,
        label: expression.label,
        probabilities: inOrder(expression),
        predicted: face.expression && inOrder(face.expression),
        frontality,
        visible,
      });
      this.tracks.set(face.track_id, track);
    }
    for (const [number, track] of this.tracks) {
      const first = track.findIndex((sample) => sample.time_s >= now_s - SPAN_S);
      if (first < 0) this.tracks.delete(number);
      else if (first > 0) track.splice(0, first);
    }
  }
}

/** Split samples into runs without a gap. */
export function splitAtGaps(track: readonly Sample[]): Sample[][] {
  const runs: Sample[][] = [];
  for (const sample of track) {
    const run = runs.at(-1);
    if (run && sample.time_s - run[run.length - 1].time_s <= MAX_GAP_S) run.push(sample);
    else runs.push([sample]);
  }
  return runs;
}

/** Return the fraction of samples with each label, in descending order; null is "not sure". */
export function labelFractions(track: readonly Sample[]): [string | null, number][] {
  const counts = new Map<string | null, number>();
  for (const { label } of track) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts]
    .map(([label, count]): [string | null, number] => [label, count / track.length])
    .sort(([, a], [, b]) => b - a);
}
