/** The voice model, calibrated: port of `mien/voice/classifier.py`. */

import { softmax } from '../engine/expression';
import type { Network } from '../engine/network';
import { logMel, MELS } from './logMel';

/** The fields of a voice model's manifest that inference needs. */
export interface VoiceManifest {
  labels: string[];
  temperature: number;
  abstain_below: number;
}

/** How a speech segment sounds to listeners, not what the speaker feels. */
export interface VoicePrediction {
  /** -1 (calm) to 1 (excited). */
  arousal: number;
  /** Most probable class; null when the model abstains. Classes are experimental. */
  label: string | null;
  confidence: number;
  probabilities: Record<string, number>;
}

/** Predict one speech segment, from 10 ms to 8 s at 16 kHz. */
export async function predictVoice(
  network: Network,
  manifest: VoiceManifest,
  samples: Float32Array,
): Promise<VoicePrediction> {
  const input = logMel(samples);
  const [logits, arousal] = await network.run(input, [1, MELS, input.length / MELS], ['logits', 'arousal']);
  return { ...calibrateVoice(logits, manifest), arousal: Math.tanh(arousal[0] / 2) };
}

/** Convert logits to calibrated probabilities; the label is null when the model abstains. */
export function calibrateVoice(
  logits: Float32Array,
  { labels, temperature, abstain_below }: VoiceManifest,
): Omit<VoicePrediction, 'arousal'> {
  const probabilities = softmax(logits, temperature);
  const confidence = Math.max(...probabilities);
  return {
    label: confidence >= abstain_below ? labels[probabilities.indexOf(confidence)] : null,
    confidence,
    probabilities: Object.fromEntries(labels.map((label, index) => [label, probabilities[index]])),
  };
}
