/** The face that a video showed during a time. */

import type { FaceTurn } from '../fusion/turn';
import type { History, Sample } from './history';

/** Return the means over the only face of that time; null without a face, "several" where two were shown at once. */
export function faceDuring(history: History, start_s: number, end_s: number): FaceTurn | 'several' | null {
  const samples = [...history.tracks.values()].flatMap((track) =>
    track.filter(({ time_s }) => time_s >= start_s && time_s <= end_s),
  );
  if (samples.length === 0) return null;
  if (new Set(samples.map(({ time_s }) => time_s)).size < samples.length) return 'several';
  const frontalities = samples.flatMap(({ frontality }) => (frontality === null ? [] : [frontality]));
  return {
    labels: history.labels,
    probabilities: history.labels.map((_, index) => mean(samples.map((sample: Sample) => sample.probabilities[index]))),
    frames: samples.length,
    frontality: frontalities.length > 0 ? mean(frontalities) : null,
    visible: mean(samples.map(({ visible }) => visible)),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
