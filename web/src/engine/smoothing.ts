/** Temporal smoothing of expressions with label hysteresis: port of `mien/video/smoothing.py`. */

import { type TrainedAffect, toExpression } from './expression.ts';
import type { Expression, Quality } from './results.ts';

const TIME_CONSTANT_S = 0.2;
/** Minimum margin of the smoothed probability by which another class replaces the label. */
const HYSTERESIS = 0.1;
/** Face size below which predictions get less weight. */
const FULL_SIZE_PX = 40;
const MIN_WEIGHT = 0.1;

/** Return the smoothing weight of a prediction from its face quality, 0.1..1. */
export function predictionWeight({ frontality, visible, size_px }: Quality): number {
  return Math.max(MIN_WEIGHT, (frontality ?? 0.5) * visible * Math.min(1, size_px / FULL_SIZE_PX));
}

interface SmoothedTrack {
  time_s: number;
  probabilities: number[];
  /** Index of the label; null when abstaining. */
  label: number | null;
  affect: TrainedAffect | null;
}

/** Low-pass filter, in continuous time, for the expressions of each track. */
export class Smoother {
  private tracks = new Map<number, SmoothedTrack>();

  constructor(
    private readonly labels: readonly string[],
    private readonly abstainBelow: number,
  ) {}

  /** Add a prediction; return the smoothed expression of its track. */
  add(number: number, time_s: number, expression: Expression, weight: number): Expression {
    const current = this.labels.map((label) => expression.probabilities[label]);
    const affect = trainedAffect(expression);
    const last = this.tracks.get(number) ?? { time_s, probabilities: current, label: null, affect };
    const gain = -Math.expm1((-Math.max(0, time_s - last.time_s) * weight) / TIME_CONSTANT_S);
    const probabilities = last.probabilities.map((old, index) => old + gain * (current[index] - old));
    const label = this.chooseLabel(probabilities, last.label);
    const track = { time_s, probabilities, label, affect: blend(last.affect, affect, gain) };
    this.tracks.set(number, track);
    return this.toExpression(track);
  }

  /** Return the smoothed expression of a track after its last prediction; null for an unknown track. */
  last(number: number): Expression | null {
    const track = this.tracks.get(number);
    return track ? this.toExpression(track) : null;
  }

  /** Forget all but some tracks; all tracks by default. */
  retain(numbers: ReadonlySet<number> = new Set()): void {
    for (const number of this.tracks.keys()) if (!numbers.has(number)) this.tracks.delete(number);
  }

  private chooseLabel(probabilities: number[], label: number | null): number | null {
    const max = Math.max(...probabilities);
    if (label !== null) {
      const current = probabilities[label];
      if (max - current <= HYSTERESIS && current >= this.abstainBelow - HYSTERESIS / 2) return label;
    }
    return max >= this.abstainBelow ? probabilities.indexOf(max) : null;
  }

  private toExpression({ probabilities, label, affect }: SmoothedTrack): Expression {
    return toExpression(this.labels, probabilities, label === null ? null : this.labels[label], affect);
  }
}

function trainedAffect({ affect, valence, arousal }: Expression): TrainedAffect | null {
  return affect !== undefined && valence !== null && arousal !== null ? [valence, arousal] : null;
}

/** Return valence and arousal moved by a gain towards new values; the new ones where either is missing. */
function blend(old: TrainedAffect | null, current: TrainedAffect | null, gain: number): TrainedAffect | null {
  if (!old || !current) return current;
  return [old[0] + gain * (current[0] - old[0]), old[1] + gain * (current[1] - old[1])];
}
