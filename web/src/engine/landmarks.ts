/** The landmark mesh, 478 points in space on a face: `mien/faces/landmarks.py` in TypeScript. */

import type { Found } from './detection';
import { boxCentre, invert, transformPoint, type Point, type Transform } from './geometry';
import { warp, type Pixels } from './imaging';
import type { Network } from './network';

/** x and y are pixels of the picture, z is depth in pixels of the same length, smaller towards the camera. */
export type Mesh = [number, number, number][];

const SIZE = 256;
/** Mesh points at the outer corners of the subject's right and left eye. */
const OUTER_EYES = [33, 263];
/** Side of the square that the network sees, in longer sides of the detector's box. */
const CROP_SIDE = 1.5;
const LEAST_PRESENCE = 0.5;
/** A face whose eyes the mesh finds more tilted than this is fitted again, levelled by it; so much in single pictures ... */
export const LEVEL_DEG = 6;
/** ... and so much in moving ones. */
export const MOVING_LEVEL_DEG = 12;

/** The mesh of one face; null where it does not fit. */
export async function fitMesh(network: Network, image: Pixels, face: Found, level_deg: number): Promise<Mesh | null> {
  const eyes = face.landmarks.slice(0, 2);
  const mesh = await fitOnce(network, image, face, eyes);
  if (!mesh) return null;
  const found = OUTER_EYES.map((point): Point => [mesh[point][0], mesh[point][1]]);
  if (Math.abs(angleBetween(eyes, found)) <= (level_deg * Math.PI) / 180) return mesh;
  return (await fitOnce(network, image, face, found)) ?? mesh;
}

async function fitOnce(network: Network, image: Pixels, face: Found, eyes: Point[]): Promise<Mesh | null> {
  const matrix = meshCropMatrix(face, eyes);
  const input = toInput(warp(image, matrix, SIZE, SIZE));
  const [points, presence] = await network.run(input, [1, SIZE, SIZE, 3]);
  return 1 / (1 + Math.exp(-presence[0])) < LEAST_PRESENCE ? null : toPicture(points, matrix);
}

/** (1, 256, 256, 3) RGB, 0..1. */
function toInput({ data }: Pixels): Float32Array {
  const input = new Float32Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    input[to++] = data[from] / 255;
    input[to++] = data[from + 1] / 255;
    input[to++] = data[from + 2] / 255;
  }
  return input;
}

/** The similarity from picture to crop pixels: centred on the box, the eyes level. */
export function meshCropMatrix({ box }: Found, eyes: readonly Point[]): Transform {
  const angle = tilt(eyes);
  const scale = SIZE / (CROP_SIDE * Math.max(box[2] - box[0], box[3] - box[1], 1));
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const [x, y] = boxCentre(box);
  return [cos, sin, SIZE / 2 - (cos * x + sin * y), -sin, cos, SIZE / 2 - (cos * y - sin * x)];
}

/** Angle in radians of the line from the subject's right eye to the left, clockwise in the picture. */
function tilt([right, left]: readonly Point[]): number {
  return Math.atan2(left[1] - right[1], left[0] - right[0]);
}

/** Angle in radians from one pair of eyes to another, -pi..pi. */
function angleBetween(one: readonly Point[], other: readonly Point[]): number {
  const turn = tilt(other) - tilt(one);
  return Math.atan2(Math.sin(turn), Math.cos(turn));
}

function toPicture(points: Float32Array, matrix: Transform): Mesh {
  const back = invert(matrix);
  const depth = Math.hypot(back[0], back[3]);
  return Array.from({ length: points.length / 3 }, (_, point) => {
    const [x, y, z] = points.subarray(3 * point, 3 * point + 3);
    return [...transformPoint(back, [x, y]), z * depth] as const as [number, number, number];
  });
}
