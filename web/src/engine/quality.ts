/** How well a face can be read: `mien/faces/quality.py` in TypeScript. */

import type { HeadPose, Quality } from '../reader';
import { alignFace } from './alignment';
import { boxArea, clip, type Box, type Point } from './geometry';
import type { Pixels } from './imaging';

const SHARPNESS_SIZE = 64;
const HALF_SHARP = 0.05;

export function faceQuality(image: Pixels, box: Box, landmarks: readonly Point[], pose: HeadPose | null): Quality {
  return {
    size_px: Math.max(0, Math.min(box[2] - box[0], box[3] - box[1])),
    sharpness: sharpness(alignFace(image, landmarks, SHARPNESS_SIZE)),
    frontality: pose && frontality(pose),
    visible: visibleShare(box, image),
  };
}

/** Sharpness of an aligned face, 0 (a blur) .. 1 (crisp): the Laplacian's variance against that of the grey values. */
export function sharpness(crop: Pixels): number {
  const { width, height, data } = crop;
  const grey = Float32Array.from({ length: width * height }, (_, place) => {
    return 0.299 * data[4 * place] + 0.587 * data[4 * place + 1] + 0.114 * data[4 * place + 2];
  });
  const laplacian = [];
  for (let y = 1; y < height - 1; y++) {
    for (let place = y * width + 1; place < (y + 1) * width - 1; place++) {
      laplacian.push(grey[place - width] + grey[place + width] + grey[place - 1] + grey[place + 1] - 4 * grey[place]);
    }
  }
  const spread = variance(grey);
  const energy = spread > 1 ? variance(laplacian) / spread : 0;
  return energy / (energy + HALF_SHARP);
}

/** Cosine of the angle between face and camera: 1 frontal, 0 in profile. */
export function frontality(pose: HeadPose): number {
  const cos = (degrees: number) => Math.cos((degrees * Math.PI) / 180);
  return Math.max(0, cos(pose.yaw) * cos(pose.pitch));
}

function visibleShare(box: Box, { width, height }: Pixels): number {
  const area = boxArea(box);
  const inside: Box = [clip(box[0], 0, width), clip(box[1], 0, height), clip(box[2], 0, width), clip(box[3], 0, height)];
  return area > 0 ? boxArea(inside) / area : 0;
}

function variance(values: ArrayLike<number>): number {
  let [sum, squares] = [0, 0];
  for (let place = 0; place < values.length; place++) sum += values[place];
  const mean = sum / values.length;
  for (let place = 0; place < values.length; place++) squares += (values[place] - mean) ** 2;
  return squares / values.length;
}
