/** Head pose, the rotation that lays the canonical face on a fitted mesh: `mien/faces/pose.py` in TypeScript. */

import type { HeadPose } from '../reader';
import type { Mesh } from './landmarks';

/** What `models/face-geometry.json` holds: the landmark's number, its weight, and its place x, y, z in centimetres. */
export interface FaceGeometry {
  landmarks: [number, number, number, number, number][];
}

type Vector = number[];
type Matrix = number[][];

/** Yaw, pitch and roll of the head whose mesh this is, in degrees. */
export function headPose(mesh: Mesh, { landmarks }: FaceGeometry): HeadPose {
  const source = landmarks.map(([, , x, y, z]) => [x, y, z]);
  const observed = landmarks.map(([point]) => [mesh[point][0], -mesh[point][1], -mesh[point][2]]); // y up, z towards us
  const rotation = fitRotation(source, observed, landmarks.map(([, weight]) => weight));
  const degrees = (y: number, x: number) => (Math.atan2(y, x) * 180) / Math.PI;
  return {
    yaw: degrees(-rotation[2][0], Math.hypot(rotation[0][0], rotation[1][0])),
    pitch: -degrees(rotation[2][1], rotation[2][2]),
    roll: -degrees(rotation[1][0], rotation[0][0]),
  };
}

/**
 * The rotation that turns source points onto target points best: weighted least squares after the best shift.
 *
 * As a quaternion, the eigenvector of a 4 x 4 matrix (Horn 1987): what Kabsch's singular values give, reflections ruled out.
 */
export function fitRotation(source: readonly Vector[], target: readonly Vector[], weights: readonly number[]): Matrix {
  const s = covariance(target, source, weights);
  const [xx, yy, zz] = [s[0][0], s[1][1], s[2][2]];
  const turns = [s[2][1] - s[1][2], s[0][2] - s[2][0], s[1][0] - s[0][1]];
  const [xy, zx, yz] = [s[0][1] + s[1][0], s[0][2] + s[2][0], s[1][2] + s[2][1]];
  const [w, x, y, z] = largestEigenvector([
    [xx + yy + zz, ...turns],
    [turns[0], xx - yy - zz, xy, zx],
    [turns[1], xy, yy - xx - zz, yz],
    [turns[2], zx, yz, zz - xx - yy],
  ]);
  return [
    [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
  ];
}

/** The sum over the points of weight x one (3) x other (3) transposed, both about their weighted means. */
function covariance(one: readonly Vector[], other: readonly Vector[], weights: readonly number[]): Matrix {
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  const mean = (points: readonly Vector[]) =>
    [0, 1, 2].map((axis) => points.reduce((sum, point, place) => sum + (weights[place] * point[axis]) / all, 0));
  const [a, b] = [mean(one), mean(other)];
  return [0, 1, 2].map((row) =>
    [0, 1, 2].map((column) =>
      one.reduce((sum, point, i) => sum + weights[i] * (point[row] - a[row]) * (other[i][column] - b[column]), 0),
    ),
  );
}

/** Of a symmetric matrix, by Jacobi's rotations; its length is 1. */
function largestEigenvector(symmetric: Matrix): Vector {
  const values = symmetric.map((row) => [...row]);
  const vectors = values.map((row, place) => row.map((_, column) => Number(place === column)));
  const size = values.length;
  for (let sweep = 0; sweep < 12; sweep++) {
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) annihilate(values, vectors, p, q);
  }
  const largest = values.reduce((best, row, place) => (row[place] > values[best][best] ? place : best), 0);
  return vectors.map((row) => row[largest]);
}

/** One rotation that makes values[p][q] zero. */
function annihilate(values: Matrix, vectors: Matrix, p: number, q: number): void {
  if (values[p][q] === 0) return;
  const theta = Math.atan2(2 * values[p][q], values[q][q] - values[p][p]) / 2;
  const [cos, sin] = [Math.cos(theta), Math.sin(theta)];
  for (const row of [...values, ...vectors]) [row[p], row[q]] = [cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]];
  for (let column = 0; column < values.length; column++) {
    const [one, other] = [values[p][column], values[q][column]];
    [values[p][column], values[q][column]] = [cos * one - sin * other, sin * one + cos * other];
  }
}
