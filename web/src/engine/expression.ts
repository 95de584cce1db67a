/** From an aligned face to a calibrated expression: `mien/inference/classifier.py` in TypeScript. */

import type { Expression, Quality } from '../reader';
import { alignFace, type Alignment } from './alignment';
import type { Point } from './geometry';
import type { Pixels } from './imaging';
import type { Network } from './network';

/** How much less sure a model is to be of small or blurred faces; see `Manifest.quality_temperature` in Python. */
export interface QualityTemperature {
  size_px: number;
  per_halving: number;
  sharpness: number;
  per_blur: number;
}

/** What is needed of an expression model's manifest. */
export interface ExpressionManifest {
  labels: string[];
  input: { size: number };
  alignment: Alignment;
  temperature: number;
  abstain_below: number;
  quality_temperature?: QualityTemperature;
}

/** Below this many halvings of its size a face is not called smaller. */
const HALVINGS = 3;

/** The perceived expression of one face, as sure as its quality allows. */
export async function readExpression(
  network: Network,
  manifest: ExpressionManifest,
  image: Pixels,
  landmarks: readonly Point[],
  quality: Quality,
): Promise<Expression> {
  const size = manifest.input.size;
  const crop = alignFace(image, landmarks, size, manifest.alignment);
  const [logits] = await network.run(toInput(crop), [1, 3, size, size], ['logits']);
  return calibrated(logits, manifest, quality);
}

/** (1, 3, S, S) RGB, 0..255. */
export function toInput({ width, height, data }: Pixels): Float32Array {
  const plane = width * height;
  const input = new Float32Array(3 * plane);
  for (let from = 0, to = 0; to < plane; from += 4, to++) {
    input[to] = data[from];
    input[to + plane] = data[from + 1];
    input[to + 2 * plane] = data[from + 2];
  }
  return input;
}

export function calibrated(logits: Float32Array, manifest: ExpressionManifest, quality: Quality): Expression {
  const spec = manifest.quality_temperature;
  const temperature = manifest.temperature * (spec ? temperatureFactor(spec, quality) : 1);
  const most = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  const sum = shares.reduce((one, other) => one + other, 0);
  const probabilities = shares.map((share) => share / sum);
  const confidence = Math.max(...probabilities);
  const best = manifest.labels[probabilities.indexOf(confidence)];
  return {
    label: confidence >= manifest.abstain_below ? best : null,
    confidence,
    probabilities: named(manifest.labels, probabilities),
  };
}

/** What the temperature is multiplied by for a face of this quality: 1 for a good one, else more. */
export function temperatureFactor(spec: QualityTemperature, quality: Quality): number {
  const halvings = Math.log2(spec.size_px / Math.max(quality.size_px, spec.size_px / 2 ** HALVINGS));
  const blur = 1 - quality.sharpness / spec.sharpness;
  return Math.exp(spec.per_halving * Math.max(halvings, 0) + spec.per_blur * Math.min(Math.max(blur, 0), 1));
}

export function named(labels: readonly string[], probabilities: readonly number[]): Record<string, number> {
  return Object.fromEntries(labels.map((label, place) => [label, probabilities[place]]));
}
