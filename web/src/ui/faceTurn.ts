/** The face that a video showed during a time. */

import type { FaceTurn } from '../fusion/turn';
import type { History } from './history';

/** As in `mien/video/speaking.py`. */
const MIN_FRONTALITY = 0.1;
const UNKNOWN_FRONTALITY = 0.5;

/** Return the means over the predictions for the only face of that time; null without one, "several" for more faces. */
export function faceDuring(history: History, start_s: number, end_s: number): FaceTurn | 'several' | null {
  const tracks = [...history.tracks.values()]
    .map((track) => track.filter(({ time_s }) => time_s >= start_s && time_s <= end_s))
    .filter((track) => track.length > 0);
  if (tracks.length > 1) return 'several';
  const samples = tracks.flat().filter(({ predicted }) => predicted !== null);
  if (samples.length === 0) return null;
  return {
    labels: history.labels,
    abstainBelow: history.abstainBelow,
    probabilities: history.labels.map((_, index) => mean(samples.map(({ predicted }) => predicted?.[index] ?? 0))),
    frames: samples.length,
    frontality: Math.max(MIN_FRONTALITY, mean(samples.map(({ frontality }) => frontality ?? UNKNOWN_FRONTALITY))),
    visible: mean(samples.map(({ visible }) => visible)),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
