/** The landmark mesh, 478 points in space on a face: `mien/faces/landmarks.py` in TypeScript. */

import type { Found } from './detection';
import { boxCentre, invert, mean, transformPoint, type Point, type Transform } from './geometry';
import { warp, type Pixels } from './imaging';
import type { Network } from './network';

/** x and y are pixels of the picture, z is depth in pixels of the same length, smaller towards the camera. */
export type Mesh = [number, number, number][];

/** A mesh on a face, and the turn from the line of its eyes as the detector has it to the mesh's, in clockwise degrees. */
export interface Fitted {
  mesh: Mesh;
  turn_deg: number;
}

/** How carefully a mesh is laid on a face. */
export interface Care {
  /** A face whose eyes the mesh finds more tilted than this is fitted again, levelled by it. */
  level_deg: number;
  /** Try where no mesh fits well whether the face lies on its side or upside down. */
  turned: boolean;
}

export const SINGLE_PICTURE: Care = { level_deg: 6, turned: true };
export const MOVING_PICTURE: Care = { level_deg: 12, turned: false };

const SIZE = 256;
/** Mesh points at the outer corners of the subject's right and left eye. */
const OUTER_EYES = [33, 263];
/** Mesh points where the detector's landmarks lie: irises, nose tip, mouth corners. */
const FIVE = [468, 473, 4, 61, 291];
/** Side of the square that the network sees, in longer sides of the detector's box. */
const CROP_SIDE = 1.5;
const PASSES = 6;
/** Of presence: below the first there is no face, from the second on a mesh lies the right way up. */
const LEAST_LOGIT = 0;
const SURE_LOGIT = 8;
/** Turns in degrees of a face that the detector takes for an upright one, with the presence that a mesh so turned must reach. */
const TURNS: readonly { least: number; turns_deg: readonly number[] }[] = [
  { least: 5, turns_deg: [45, -45] },
  { least: 10, turns_deg: [180, 90, -90, 135, -135] },
];
/** By so much its presence must be the higher one. */
const AHEAD_LOGIT = 3;

/** Longer side of the smallest box whose face is tried turned. */
const LEAST_TURNED_PX = 32;

interface Fit {
  mesh: Mesh;
  logit: number;
}

/** A fit, and the eyes that levelled its crop. */
interface Try {
  eyes: Point[];
  fit: Fit;
}

/** The mesh of one face; null where it does not fit. */
export async function fitMesh(network: Network, image: Pixels, face: Found, care: Care): Promise<Fitted | null> {
  const eyes = face.landmarks.slice(0, 2);
  let best = await settle(network, image, face, { eyes, fit: await fitOnce(network, image, face, eyes) }, care.level_deg);
  const side = Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]);
  for (const { least, turns_deg } of care.turned && side >= LEAST_TURNED_PX ? TURNS : []) {
    if (best.logit >= SURE_LOGIT) break;
    const fit = await settle(network, image, face, await bestTurn(network, image, face, eyes, turns_deg), care.level_deg);
    if (fit.logit >= Math.max(least, best.logit + AHEAD_LOGIT)) best = fit;
  }
  if (best.logit < LEAST_LOGIT) return null;
  return { mesh: best.mesh, turn_deg: (angleBetween(eyes, eyesOf(best.mesh)) * 180) / Math.PI };
}

/** The points of a mesh where the detector's landmarks lie. */
export function landmarksOf(mesh: Mesh): Point[] {
  return FIVE.map((point) => [mesh[point][0], mesh[point][1]]);
}

/** The eyes, turned so that the mesh fits the face best, and that fit. */
async function bestTurn(network: Network, image: Pixels, face: Found, eyes: Point[], turns_deg: readonly number[]): Promise<Try> {
  const tries: Try[] = [];
  for (const turn_deg of turns_deg) {
    const turned = turnedEyes(eyes, turn_deg);
    tries.push({ eyes: turned, fit: await fitOnce(network, image, face, turned) });
  }
  return tries.reduce((best, one) => (one.fit.logit > best.fit.logit ? one : best));
}

/** A fit repeated until the mesh's own eyes are level in its crop, or it is lost. */
async function settle(network: Network, image: Pixels, face: Found, { eyes, fit }: Try, level_deg: number): Promise<Fit> {
  for (let pass = 1; pass < PASSES && fit.logit >= LEAST_LOGIT; pass++) {
    const found = eyesOf(fit.mesh);
    if (Math.abs(angleBetween(eyes, found)) <= (level_deg * Math.PI) / 180) break;
    eyes = found;
    const again = await fitOnce(network, image, face, eyes);
    if (again.logit < LEAST_LOGIT) break;
    fit = again;
  }
  return fit;
}

async function fitOnce(network: Network, image: Pixels, face: Found, eyes: Point[]): Promise<Fit> {
  const matrix = meshCropMatrix(face, eyes);
  const input = toInput(warp(image, matrix, SIZE, SIZE));
  const [points, presence] = await network.run(input, [1, SIZE, SIZE, 3]);
  return { mesh: toPicture(points, matrix), logit: presence[0] };
}

function eyesOf(mesh: Mesh): Point[] {
  return OUTER_EYES.map((point) => [mesh[point][0], mesh[point][1]]);
}

/** The eyes of a face turned about the point between them, clockwise in the picture. */
function turnedEyes(eyes: readonly Point[], turn_deg: number): Point[] {
  const turn = (turn_deg * Math.PI) / 180;
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
  const [middleX, middleY] = mean(eyes);
  return eyes.map(([x, y]) => {
    const [across, down] = [x - middleX, y - middleY];
    return [across * cos - down * sin + middleX, across * sin + down * cos + middleY];
  });
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
