/** Face quality measures: port of `mien/faces/quality.py`. */

import { alignFace } from './alignment.ts';
import type { ExpressionManifest } from './expression.ts';
import { type Box, boxArea, clip, type Point } from './geometry.ts';
import type { Pixels } from './imaging.ts';
import type { HeadPose, Quality } from './results.ts';

const SHARPNESS_SIZE = 64;
/** Normalized Laplacian energy at which the sharpness is 0.5. */
const HALF_SHARP = 0.05;

/** Return whether the crops of an expression model are those on which sharpness is measured. */
export function isSharpnessCrop({ input, alignment }: ExpressionManifest): boolean {
  return input.size === SHARPNESS_SIZE && alignment.template === 'ferplus' && alignment.margin === 0;
}

/** Return the quality of a face; `crop` is the aligned face on which sharpness is measured, where there is one already. */
export function faceQuality(
  image: Pixels,
  box: Box,
  landmarks: readonly Point[],
  pose: HeadPose | null,
  crop = alignFace(image, landmarks, SHARPNESS_SIZE),
): Quality {
  return {
    size_px: Math.max(0, Math.min(box[2] - box[0], box[3] - box[1])),
    sharpness: sharpness(crop),
    frontality: pose && frontality(pose),
    visible: visibleFraction(box, image),
  };
}

/** Return the sharpness of an aligned face, 0 (blurred) .. 1 (sharp): Laplacian variance relative to gray-level variance. */
function sharpness({ width, height, data }: Pixels): number {
  const gray = new Float32Array(width * height);
  for (let index = 0; index < gray.length; index++) {
    gray[index] = 0.299 * data[4 * index] + 0.587 * data[4 * index + 1] + 0.114 * data[4 * index + 2];
  }
  const laplacian = new Float64Array((width - 2) * (height - 2));
  for (let y = 1, to = 0; y < height - 1; y++) {
    for (let index = y * width + 1; index < (y + 1) * width - 1; index++) {
      laplacian[to++] = gray[index - width] + gray[index + width] + gray[index - 1] + gray[index + 1] - 4 * gray[index];
    }
  }
  const spread = variance(gray);
  const energy = spread > 1 ? variance(laplacian) / spread : 0;
  return energy / (energy + HALF_SHARP);
}

/** Return the cosine of the angle between face and camera: 1 frontal, 0 in profile. */
function frontality(pose: HeadPose): number {
  const cos = (degrees: number) => Math.cos((degrees * Math.PI) / 180);
  return Math.max(0, cos(pose.yaw) * cos(pose.pitch));
}

function visibleFraction(box: Box, { width, height }: Pixels): number {
  const area = boxArea(box);
  const inside: Box = [
    clip(box[0], 0, width),
    clip(box[1], 0, height),
    clip(box[2], 0, width),
    clip(box[3], 0, height),
  ];
  return area > 0 ? boxArea(inside) / area : 0;
}

function variance(values: Float32Array | Float64Array): number {
  let sum = 0;
  let squares = 0;
  for (let index = 0; index < values.length; index++) sum += values[index];
  const mean = sum / values.length;
  for (let index = 0; index < values.length; index++) squares += (values[index] - mean) ** 2;
  return squares / values.length;
}
