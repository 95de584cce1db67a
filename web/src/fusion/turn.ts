/** Fusion of a speech segment with the face that was shown meanwhile. */

import type { VoiceSegment } from '../voice/analyzer';
import { toFaceClasses } from './classes';
import { conflict, type Distribution, logLinearPool } from './pool';
import { faceWeight, MAX_CONFLICT, voiceWeight } from './reliability';

/** Means over the predictions for one face. */
export interface FaceTurn {
  labels: readonly string[];
  /** Confidence below which the model gives no label. */
  abstainBelow: number;
  probabilities: Distribution;
  /** Number of predictions. */
  frames: number;
  /** 1 (frontal) to 0 (profile). */
  frontality: number;
  /** Share of the face inside the image, 0..1. */
  visible: number;
}

/** Distributions by class, their labels, and how much face and voice disagree: 0 to 1, null without a common class. */
export interface FusedTurn {
  face: Record<string, number>;
  voice: Record<string, number>;
  pooled: Record<string, number>;
  /** Null where the distribution is not sure. */
  labels: Record<'face' | 'voice' | 'pooled', string | null>;
  conflict: number | null;
}

/** Pool a face and a voice, weighted by their reliabilities. */
export function fuseTurn(face: FaceTurn, segment: VoiceSegment): FusedTurn {
  const { labels, abstainBelow, probabilities } = face;
  const { distribution, share } = toFaceClasses(segment.probabilities, labels);
  const { start_s, end_s, clipped } = segment;
  const weights = [faceWeight(face), voiceWeight({ speech_s: end_s - start_s, share, clipped })];
  const byLabel = (values: Distribution) => Object.fromEntries(labels.map((label, index) => [label, values[index]]));
  const labelOf = (values: Distribution) => {
    const confidence = Math.max(...values);
    return confidence >= abstainBelow ? labels[values.indexOf(confidence)] : null;
  };
  const pooled = logLinearPool([probabilities, distribution], weights);
  const bits = share > 0 ? conflict(probabilities, distribution, share) : null;
  return {
    face: byLabel(probabilities),
    voice: segment.probabilities,
    pooled: byLabel(pooled),
    labels: {
      face: labelOf(probabilities),
      voice: segment.label,
      // The pool of two that disagree can peak at a class that neither of them has.
      pooled: bits === null || bits < MAX_CONFLICT ? labelOf(pooled) : null,
    },
    conflict: bits,
  };
}
