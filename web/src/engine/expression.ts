/** Calibrated expressions of aligned faces: port of `mien/inference/classifier.py`. */

import { VALENCE_AROUSAL } from '../generated/affect.ts';
import type { Alignment } from './alignment.ts';
import type { Pixels } from './imaging.ts';
import type { OpenedNetwork } from './network.ts';
import type { Expression, Quality } from './results.ts';

/** Temperature increase for small or blurred faces; see `Manifest.quality_temperature` in Python. */
export interface QualityTemperature {
  size_px: number;
  per_halving: number;
  sharpness: number;
  per_blur: number;
}

/** The fields of an expression model's manifest that inference needs. */
export interface ExpressionManifest {
  labels: string[];
  input: { size: number };
  alignment: Alignment;
  temperature: number;
  abstain_below: number;
  quality_temperature?: QualityTemperature;
}

/** Maximum number of size halvings that raise the temperature. */
const MAX_HALVINGS = 3;
/** Maximum number of faces in one pass, which bounds its memory. */
const MAX_BATCH = 16;

/** Output of models with a regression head for valence and arousal. */
const AFFECT = 'valence_arousal';

/** Valence and arousal that a regression head of the model predicts. */
export type TrainedAffect = [valence: number, arousal: number];

/** Predict the perceived expressions of aligned faces, calibrated for their qualities. */
export async function predictExpressions(
  network: OpenedNetwork,
  manifest: ExpressionManifest,
  crops: readonly Pixels[],
  qualities: readonly Quality[],
): Promise<Expression[]> {
  const { size } = manifest.input;
  const count = manifest.labels.length;
  const expressions: Expression[] = [];
  for (let start = 0; start < crops.length; start += MAX_BATCH) {
    const batch = crops.slice(start, start + MAX_BATCH);
    const outputs = network.outputs.includes(AFFECT) ? ['logits', AFFECT] : ['logits'];
    const [logits, affects] = await network.run(toInput(batch, size), [batch.length, 3, size, size], outputs);
    for (let face = 0; face < batch.length; face++) {
      const row = logits.subarray(count * face, count * (face + 1));
      const affect: TrainedAffect | null = affects ? [affects[2 * face], affects[2 * face + 1]] : null;
      expressions.push(calibrate(row, manifest, qualities[start + face], affect));
    }
  }
  return expressions;
}

/** Return (N, 3, S, S) RGB, 0..255. */
function toInput(crops: readonly Pixels[], size: number): Float32Array {
  const plane = size * size;
  const input = new Float32Array(3 * plane * crops.length);
  for (const [index, { data }] of crops.entries()) {
    const start = 3 * plane * index;
    for (let from = 0, to = start; to < start + plane; from += 4, to++) {
      input[to] = data[from];
      input[to + plane] = data[from + 1];
      input[to + 2 * plane] = data[from + 2];
    }
  }
  return input;
}

/** Convert logits to an expression with calibrated probabilities; the label is null when the model abstains. */
export function calibrate(
  logits: Float32Array,
  manifest: ExpressionManifest,
  quality: Quality,
  affect: TrainedAffect | null = null,
): Expression {
  const spec = manifest.quality_temperature;
  const temperature = manifest.temperature * (spec ? temperatureFactor(spec, quality) : 1);
  const probabilities = softmax(logits, temperature);
  const confidence = Math.max(...probabilities);
  const best = manifest.labels[probabilities.indexOf(confidence)];
  return toExpression(manifest.labels, probabilities, confidence >= manifest.abstain_below ? best : null, affect);
}

/** Return the probabilities of logits divided by a temperature. */
export function softmax(logits: Float32Array, temperature: number): number[] {
  const maxLogit = Math.max(...logits);
  const exponentials = Array.from(logits, (logit) => Math.exp((logit - maxLogit) / temperature));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

/** Return the temperature factor for a face's quality: 1 for a good face, higher for a small or blurred one. */
function temperatureFactor(spec: QualityTemperature, quality: Quality): number {
  const halvings = Math.log2(spec.size_px / Math.max(quality.size_px, spec.size_px / 2 ** MAX_HALVINGS));
  const blur = 1 - quality.sharpness / spec.sharpness;
  return Math.exp(spec.per_halving * Math.max(halvings, 0) + spec.per_blur * Math.min(Math.max(blur, 0), 1));
}

/** Return the expression of probabilities; valence and arousal are derived from them if the model predicts none. */
export function toExpression(
  labels: readonly string[],
  probabilities: readonly number[],
  label: string | null,
  affect: TrainedAffect | null,
): Expression {
  return {
    label,
    confidence: label === null ? Math.max(...probabilities) : probabilities[labels.indexOf(label)],
    probabilities: Object.fromEntries(labels.map((name, index) => [name, probabilities[index]])),
    valence: affect ? affect[0] : meanCoordinate(labels, probabilities, 0),
    arousal: affect ? affect[1] : meanCoordinate(labels, probabilities, 1),
    ...(affect && { affect: 'trained' }),
  };
}

/** Return the mean coordinate of the classes, weighted by probability; null if a class has none. */
function meanCoordinate(labels: readonly string[], probabilities: readonly number[], axis: 0 | 1): number | null {
  if (!labels.every((label) => label in VALENCE_AROUSAL)) return null;
  return labels.reduce((sum, label, index) => sum + VALENCE_AROUSAL[label][axis] * probabilities[index], 0);
}
