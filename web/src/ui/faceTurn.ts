/** The face that a video showed during a time. */

import type { FaceTurn } from '../fusion/turn';
import type { History } from './history';

/** As in `mien/video/speaking.py`. */
const MIN_FRONTALITY = 0.1;
const UNKNOWN_FRONTALITY = 0.5;

/** Return the means over the only face of that time; null without a face, "several" where two were shown at once. */
export function faceDuring(history: History, start_s: number, end_s: number): FaceTurn | 'several' | null {
  const samples = [...history.tracks.values()].flatMap((track) =>
    track.filter(({ time_s }) => time_s >= start_s && time_s <= end_s),
  );
  if (samples.length === 0) return null;
  if (new Set(samples.map(({ time_s }) => time_s)).size < samples.length) return 'several';
  return {
    labels: history.labels,
    probabilities: history.labels.map((_, index) => mean(samples.map((sample) => sample.probabilities[index]))),
    frames: samples.length,
    frontality: Math.max(MIN_FRONTALITY, mean(samples.map(({ frontality }) => frontality ?? UNKNOWN_FRONTALITY))),
    visible: mean(samples.map(({ visible }) => visible)),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
