/** Fusion of a speech segment with the face that was shown meanwhile. */

import type { VoiceSegment } from '../voice/analyzer';
import { toFaceClasses } from './classes';
import { conflict, type Distribution, logLinearPool } from './pool';
import { faceWeight, voiceWeight } from './reliability';

/** Means over the predictions for one face. */
export interface FaceTurn {
  labels: readonly string[];
  probabilities: Distribution;
  /** Number of predictions. */
  frames: number;
  /** 1 (frontal) to 0 (profile). */
  frontality: number;
  /** Share of the face inside the image, 0..1. */
  visible: number;
}

/** Distributions by class, and how much face and voice disagree: 0 to 1. */
export interface FusedTurn {
  face: Record<string, number>;
  voice: Record<string, number>;
  fused: Record<string, number>;
  conflict: number;
}

/** Pool a face and a voice, weighted by their reliabilities. */
export function fuseTurn(face: FaceTurn, segment: VoiceSegment): FusedTurn {
  const { labels, probabilities } = face;
  const { distribution, share } = toFaceClasses(segment.probabilities, labels);
  const { start_s, end_s, clipped } = segment;
  const weights = [faceWeight(face), voiceWeight({ speech_s: end_s - start_s, share, clipped })];
  const byLabel = (values: Distribution) => Object.fromEntries(labels.map((label, index) => [label, values[index]]));
  return {
    face: byLabel(probabilities),
    voice: segment.probabilities,
    fused: byLabel(logLinearPool([probabilities, distribution], weights)),
    conflict: conflict(probabilities, distribution),
  };
}
