/** Head pose by fitting the canonical face to a mesh: port of `mien/faces/pose.py`. */

import type { Mesh } from './landmarks.ts';
import type { HeadPose } from './results.ts';

/** Content of `models/face-geometry.json`. */
export interface FaceGeometry {
  /** Mesh index, weight, and x, y, z in centimeters. */
  landmarks: [number, number, number, number, number][];
}

type Vector = number[];
type Matrix = number[][];

/** Number of Jacobi sweeps over a 4 x 4 matrix. */
const SWEEPS = 12;

/** Estimate yaw, pitch and roll of a head from its mesh, in degrees. */
export function headPose(mesh: Mesh, { landmarks }: FaceGeometry): HeadPose {
  const source = landmarks.map(([, , x, y, z]) => [x, y, z]);
  // y up, z toward the camera
  const target = landmarks.map(([point]) => [mesh[point][0], -mesh[point][1], -mesh[point][2]]);
  const weights = landmarks.map(([, weight]) => weight);
  const rotation = fitRotation(source, target, weights);
  const degrees = (y: number, x: number) => (Math.atan2(y, x) * 180) / Math.PI;
  return {
    yaw: degrees(-rotation[2][0], Math.hypot(rotation[0][0], rotation[1][0])),
    pitch: -degrees(rotation[2][1], rotation[2][2]),
    roll: -degrees(rotation[1][0], rotation[0][0]),
  };
}

/**
 * Fit the rotation from source to target points by weighted least squares, after removing the translation.
 *
 * The quaternion is an eigenvector of a 4 x 4 matrix (Horn 1987); the result equals that of Kabsch's algorithm without
 * reflections.
 */
function fitRotation(source: readonly Vector[], target: readonly Vector[], weights: readonly number[]): Matrix {
  const s = covariance(target, source, weights);
  const [xx, yy, zz] = [s[0][0], s[1][1], s[2][2]];
  const skew = [s[2][1] - s[1][2], s[0][2] - s[2][0], s[1][0] - s[0][1]];
  const [xy, zx, yz] = [s[0][1] + s[1][0], s[0][2] + s[2][0], s[1][2] + s[2][1]];
  const [w, x, y, z] = principalEigenvector([
    [xx + yy + zz, ...skew],
    [skew[0], xx - yy - zz, xy, zx],
    [skew[1], xy, yy - xx - zz, yz],
    [skew[2], zx, yz, zz - xx - yy],
  ]);
  return [
    [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
  ];
}

/** Return the weighted 3 x 3 cross-covariance of two point sets. */
function covariance(a: readonly Vector[], b: readonly Vector[], weights: readonly number[]): Matrix {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = (points: readonly Vector[]) =>
    [0, 1, 2].map((axis) => points.reduce((sum, point, index) => sum + (weights[index] * point[axis]) / total, 0));
  const [meanA, meanB] = [mean(a), mean(b)];
  return [0, 1, 2].map((row) =>
    [0, 1, 2].map((column) =>
      a.reduce((sum, point, i) => sum + weights[i] * (point[row] - meanA[row]) * (b[i][column] - meanB[column]), 0),
    ),
  );
}

/** Return the unit eigenvector with the largest eigenvalue of a symmetric matrix, by Jacobi rotations. */
function principalEigenvector(symmetric: Matrix): Vector {
  const values = symmetric.map((row) => [...row]);
  const vectors = values.map((row, index) => row.map((_, column) => Number(index === column)));
  const size = values.length;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) annihilate(values, vectors, p, q);
  }
  const largest = values.reduce((best, row, index) => (row[index] > values[best][best] ? index : best), 0);
  return vectors.map((row) => row[largest]);
}

/** Apply the Jacobi rotation that makes values[p][q] zero. */
function annihilate(values: Matrix, vectors: Matrix, p: number, q: number): void {
  if (values[p][q] === 0) return;
  const theta = Math.atan2(2 * values[p][q], values[q][q] - values[p][p]) / 2;
  const [cos, sin] = [Math.cos(theta), Math.sin(theta)];
  for (const row of [...values, ...vectors]) {
    [row[p], row[q]] = [cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]];
  }
  for (let column = 0; column < values.length; column++) {
    const [a, b] = [values[p][column], values[q][column]];
    [values[p][column], values[q][column]] = [cos * a - sin * b, sin * a + cos * b];
  }
}
