/** Expressions over time, single readings flicker, what is shown should not: `mien/video/smoothing.py` in TypeScript. */

import type { Expression, Quality } from '../reader';
import { named } from './expression';

const TIME_CONSTANT_S = 0.2;
/** A label gives way to a class whose smoothed probability exceeds its own by this much. */
const HYSTERESIS = 0.1;
/** Faces smaller than this count less. */
const FULL_SIZE_PX = 40;
const LEAST_WEIGHT = 0.1;

/** How much one reading of a face counts, 0.1..1. */
export function readingWeight({ frontality, visible, size_px }: Quality): number {
  return Math.max(LEAST_WEIGHT, (frontality ?? 0.5) * visible * Math.min(1, size_px / FULL_SIZE_PX));
}

interface Smoothed {
  time_s: number;
  probabilities: number[];
  /** Place in the labels; null when nothing is sure. */
  label: number | null;
}

/** Filters the expressions of many people, each by a low-pass in continuous time. */
export class Smoother {
  private tracks = new Map<number, Smoothed>();

  constructor(
    private readonly labels: readonly string[],
    private readonly abstainBelow: number,
  ) {}

  /** Takes one reading; returns the person's smoothed expression. */
  add(number: number, time_s: number, expression: Expression, weight: number): Expression {
    const read = this.labels.map((label) => expression.probabilities[label]);
    const last = this.tracks.get(number) ?? { time_s, probabilities: read, label: null };
    const gain = -Math.expm1((-Math.max(0, time_s - last.time_s) * weight) / TIME_CONSTANT_S);
    const probabilities = last.probabilities.map((old, place) => old + gain * (read[place] - old));
    const label = this.choose(probabilities, last.label);
    this.tracks.set(number, { time_s, probabilities, label });
    return this.shown({ time_s, probabilities, label });
  }

  /** A person's smoothed expression after the last reading; null when there was none. */
  last(number: number): Expression | null {
    const track = this.tracks.get(number);
    return track ? this.shown(track) : null;
  }

  /** Forgets those whose last reading is before a time; all of them unless it is told. */
  forget(before_s = Infinity): void {
    for (const [number, track] of this.tracks) if (track.time_s < before_s) this.tracks.delete(number);
  }

  private choose(probabilities: number[], label: number | null): number | null {
    const most = Math.max(...probabilities);
    if (label !== null) {
      const own = probabilities[label];
      if (most - own <= HYSTERESIS && own >= this.abstainBelow - HYSTERESIS / 2) return label;
    }
    return most >= this.abstainBelow ? probabilities.indexOf(most) : null;
  }

  private shown({ probabilities, label }: Smoothed): Expression {
    return {
      label: label === null ? null : this.labels[label],
      confidence: label === null ? Math.max(...probabilities) : probabilities[label],
      probabilities: named(this.labels, probabilities),
    };
  }
}
