/** Face landmark mesh with 478 3D points: port of `mien/faces/landmarks.py` and `mesh_network.py`. */

import type { Detection } from './detection.ts';
import { boxCenter, invert, mean, type Point, type Transform, transformPoint } from './geometry.ts';
import { type Pixels, warp } from './imaging.ts';
import type { Network } from './network.ts';

/** x and y in image pixels; z is depth on the same scale, smaller toward the camera. */
export type Mesh = [number, number, number][];

/** A landmark network and the side of its input, in pixels. */
export interface MeshNetwork {
  network: Network;
  size: number;
}

/** The two networks that fit meshes. */
export interface MeshNetworks {
  /** Suffices for the head pose of a clear face. */
  small: MeshNetwork;
  /** MediaPipe's network; it judges the faces that are not clear. */
  detailed: MeshNetwork;
}

/** A fitted mesh and its clockwise rotation relative to the detector's eyes. */
export interface FittedMesh {
  mesh: Mesh;
  rotation_deg: number;
}

export interface MeshOptions {
  /** Maximum tilt of the mesh in its crop; above it the fit is repeated with a leveled crop. */
  maxTilt_deg: number;
  /** Try rotated crops when no upright mesh fits well. */
  tryRotations: boolean;
  /** Rotation of the mesh against the detector's landmarks above which a crop is aligned by the mesh. */
  maxRotation_deg: number;
}

export const SINGLE_IMAGE: MeshOptions = { maxTilt_deg: 6, tryRotations: true, maxRotation_deg: 15 };
export const VIDEO_FRAME: MeshOptions = { maxTilt_deg: 12, tryRotations: false, maxRotation_deg: 60 };

/** Mesh indices of the outer corners of the subject's right and left eye. */
const OUTER_EYES = [33, 263];
/** Mesh indices of the detector's landmarks: irises, nose tip, mouth corners. */
const DETECTOR_LANDMARKS = [468, 473, 4, 61, 291];
/** Side of the square crop relative to the longer side of the detector's box. */
const CROP_SCALE = 1.5;
/** Maximum number of fits until the mesh is upright in its crop. */
const MAX_PASSES = 6;
/** Minimum presence logit of a face. */
const MIN_LOGIT = 0;
/** Presence logit of the small network below which the detailed one fits the face again. */
const CLEAR_LOGIT = 6;
/** Presence logit from which a mesh is accepted without trying rotations. */
const CONFIDENT_LOGIT = 8;
/** Rotations to try, in order, with the minimum presence logit of a mesh rotated that way. */
const ROTATIONS: readonly { minLogit: number; rotations_deg: readonly number[] }[] = [
  { minLogit: 5, rotations_deg: [45, -45] },
  { minLogit: 10, rotations_deg: [180, 90, -90, 135, -135] },
];
/** Minimum margin, in logits, by which a rotated fit must win. */
const MIN_LOGIT_MARGIN = 3;
/** Minimum longer side of a face's box, in pixels, for rotated fits. */
const MIN_ROTATED_PX = 32;

interface Fit {
  mesh: Mesh;
  logit: number;
}

/** A fit and the eye positions that leveled its crop. */
interface Candidate {
  eyes: Point[];
  fit: Fit;
}

/** Result of a search: the mesh, null where none fits, and the highest presence of all crops that were tried. */
interface MeshSearch {
  mesh: FittedMesh | null;
  bestLogit: number;
}

/** Fit the mesh to one face; null when no mesh fits. */
export async function fitMesh(
  networks: MeshNetworks,
  image: Pixels,
  face: Detection,
  options: MeshOptions,
): Promise<FittedMesh | null> {
  return (await searchMesh(networks, image, face, options)).mesh;
}

/** Fit the mesh to one face. */
export async function searchMesh(
  { small, detailed }: MeshNetworks,
  image: Pixels,
  face: Detection,
  options: MeshOptions,
): Promise<MeshSearch> {
  const eyes = face.landmarks.slice(0, 2);
  const fit = await fitUpright(small, image, face, options.maxTilt_deg);
  return fit.logit >= CLEAR_LOGIT ? toSearch(fit, fit.logit, eyes) : searchDetailed(detailed, image, face, options);
}

/** Fit the mesh to one face, in rotated crops where the upright one fits poorly. */
async function searchDetailed(
  network: MeshNetwork,
  image: Pixels,
  face: Detection,
  { maxTilt_deg, tryRotations }: MeshOptions,
): Promise<MeshSearch> {
  const eyes = face.landmarks.slice(0, 2);
  let best = await fitUpright(network, image, face, maxTilt_deg);
  let bestLogit = best.logit;
  const side = Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]);
  for (const { minLogit, rotations_deg } of tryRotations && side >= MIN_ROTATED_PX ? ROTATIONS : []) {
    if (best.logit >= CONFIDENT_LOGIT) break;
    const candidate = await bestRotation(network, image, face, eyes, rotations_deg);
    const fit = await refine(network, image, face, candidate, maxTilt_deg);
    bestLogit = Math.max(bestLogit, fit.logit);
    if (fit.logit >= Math.max(minLogit, best.logit + MIN_LOGIT_MARGIN)) best = fit;
  }
  return toSearch(best, bestLogit, eyes);
}

/** Return the result of a search; without a mesh where the fit shows no face. */
function toSearch({ mesh, logit }: Fit, bestLogit: number, eyes: readonly Point[]): MeshSearch {
  if (logit < MIN_LOGIT) return { mesh: null, bestLogit };
  const rotation_deg = (angleBetween(eyes, eyesOf(mesh)) * 180) / Math.PI;
  return { mesh: { mesh, rotation_deg }, bestLogit };
}

/** Fit the mesh in a crop that is leveled by the detector's eyes. */
async function fitUpright(network: MeshNetwork, image: Pixels, face: Detection, maxTilt_deg: number): Promise<Fit> {
  const eyes = face.landmarks.slice(0, 2);
  const upright = { eyes, fit: await fitOnce(network, image, face, eyes) };
  return refine(network, image, face, upright, maxTilt_deg);
}

/** Return the mesh points that correspond to the detector's landmarks. */
export function landmarksOf(mesh: Mesh): Point[] {
  return DETECTOR_LANDMARKS.map((point) => [mesh[point][0], mesh[point][1]]);
}

/** Fit the mesh at several rotations; return the fit with the highest presence. */
async function bestRotation(
  network: MeshNetwork,
  image: Pixels,
  face: Detection,
  eyes: Point[],
  rotations_deg: readonly number[],
): Promise<Candidate> {
  const candidates: Candidate[] = [];
  for (const rotation_deg of rotations_deg) {
    const rotated = rotateEyes(eyes, rotation_deg);
    candidates.push({ eyes: rotated, fit: await fitOnce(network, image, face, rotated) });
  }
  return candidates.reduce((best, candidate) => (candidate.fit.logit > best.fit.logit ? candidate : best));
}

/** Repeat a fit until the mesh is upright in its crop or its presence is lost. */
async function refine(
  network: MeshNetwork,
  image: Pixels,
  face: Detection,
  { eyes, fit }: Candidate,
  maxTilt_deg: number,
): Promise<Fit> {
  for (let pass = 1; pass < MAX_PASSES && fit.logit >= MIN_LOGIT; pass++) {
    const meshEyes = eyesOf(fit.mesh);
    if (Math.abs(angleBetween(eyes, meshEyes)) <= (maxTilt_deg * Math.PI) / 180) break;
    eyes = meshEyes;
    const next = await fitOnce(network, image, face, eyes);
    if (next.logit < MIN_LOGIT) break;
    fit = next;
  }
  return fit;
}

async function fitOnce({ network, size }: MeshNetwork, image: Pixels, face: Detection, eyes: Point[]): Promise<Fit> {
  const matrix = meshCropMatrix(face, eyes, size);
  const input = toInput(warp(image, matrix, size, size));
  const [points, presence] = await network.run(input, [1, size, size, 3]);
  return { mesh: toImageMesh(points, matrix), logit: presence[0] };
}

function eyesOf(mesh: Mesh): Point[] {
  return OUTER_EYES.map((point) => [mesh[point][0], mesh[point][1]]);
}

/** Rotate the eyes about their midpoint, clockwise in the image. */
function rotateEyes(eyes: readonly Point[], rotation_deg: number): Point[] {
  const angle = (rotation_deg * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [centerX, centerY] = mean(eyes);
  return eyes.map(([x, y]) => {
    const [dx, dy] = [x - centerX, y - centerY];
    return [dx * cos - dy * sin + centerX, dx * sin + dy * cos + centerY];
  });
}

/** Return (1, height, width, 3) RGB. */
function toInput({ data }: Pixels): Uint8Array {
  const input = new Uint8Array((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    input[to++] = data[from];
    input[to++] = data[from + 1];
    input[to++] = data[from + 2];
  }
  return input;
}

/** Return the similarity transform from image to crop pixels: centered on the box, eyes level. */
export function meshCropMatrix({ box }: Detection, eyes: readonly Point[], size: number): Transform {
  const angle = tilt(eyes);
  const scale = size / (CROP_SCALE * Math.max(box[2] - box[0], box[3] - box[1], 1));
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  const [x, y] = boxCenter(box);
  return [cos, sin, size / 2 - (cos * x + sin * y), -sin, cos, size / 2 - (cos * y - sin * x)];
}

/** Return the angle of the line from the subject's right to left eye, in radians, clockwise in the image. */
function tilt([right, left]: readonly Point[]): number {
  return Math.atan2(left[1] - right[1], left[0] - right[0]);
}

/** Return the angle from one pair of eyes to another, in radians, -pi..pi. */
function angleBetween(from: readonly Point[], to: readonly Point[]): number {
  const angle = tilt(to) - tilt(from);
  return Math.atan2(Math.sin(angle), Math.cos(angle));
}

function toImageMesh(points: Float32Array, matrix: Transform): Mesh {
  const inverse = invert(matrix);
  const scale = Math.hypot(inverse[0], inverse[3]);
  return Array.from({ length: points.length / 3 }, (_, point): Mesh[number] => {
    const [x, y, z] = points.subarray(3 * point, 3 * point + 3);
    return [...transformPoint(inverse, [x, y]), z * scale];
  });
}
