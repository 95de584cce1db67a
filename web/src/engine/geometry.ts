/**
 * Boxes and affine transforms: port of `mien/geometry.py`.
 *
 * Pixel centers are at whole numbers + 0.5; an image of width W spans 0..W.
 */

export type Point = [number, number];
/** Left, top, right, bottom; right and bottom exclusive. */
export type Box = [number, number, number, number];
/** [a, b, c, d, e, f] maps (x, y) to (a x + b y + c, d x + e y + f). */
export type Transform = readonly [number, number, number, number, number, number];

/** Round half to even, as Python does. */
export function round(value: number): number {
  const floor = Math.floor(value);
  const remainder = value - floor;
  if (remainder !== 0.5) return remainder < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

export function clip(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}

/** Return the area of a box; 0 for an empty or inverted one. */
export function boxArea(box: Box): number {
  return Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
}

export function boxCenter(box: Box): Point {
  return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
}

/** Return the intersection over union; 0 when both boxes are empty. */
export function boxIou(a: Box, b: Box): number {
  const intersection = intersectionArea(a, b);
  const union = boxArea(a) + boxArea(b) - intersection;
  return union > 0 ? intersection / union : 0;
}

/** Return the fraction of a box's area inside another box; 0 when it is empty. */
export function boxInside(box: Box, other: Box): number {
  const area = boxArea(box);
  return area > 0 ? intersectionArea(box, other) / area : 0;
}

function intersectionArea(a: Box, b: Box): number {
  return boxArea([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])]);
}

/**
 * Fit the similarity transform from source to target points by least squares (Umeyama 1991).
 *
 * Coinciding source points give a pure translation.
 */
export function similarityTransform(source: readonly Point[], target: readonly Point[]): Transform {
  const from = mean(source);
  const to = mean(target);
  let spread = 0;
  let cos = 0;
  let sin = 0;
  for (let index = 0; index < source.length; index++) {
    const [x, y] = [source[index][0] - from[0], source[index][1] - from[1]];
    const [u, v] = [target[index][0] - to[0], target[index][1] - to[1]];
    spread += x * x + y * y;
    cos += x * u + y * v;
    sin += x * v - y * u;
  }
  [cos, sin] = spread === 0 ? [1, 0] : [cos / spread, sin / spread];
  return [cos, -sin, to[0] - (cos * from[0] - sin * from[1]), sin, cos, to[1] - (sin * from[0] + cos * from[1])];
}

export function mean(points: readonly Point[]): Point {
  let [x, y] = [0, 0];
  for (const point of points) [x, y] = [x + point[0], y + point[1]];
  return [x / points.length, y / points.length];
}

export function determinant([a, b, , d, e]: Transform): number {
  return a * e - b * d;
}

export function invert(matrix: Transform): Transform {
  const [a, b, c, d, e, f] = matrix;
  const size = determinant(matrix);
  const [p, q, r, s] = [e / size, -b / size, -d / size, a / size];
  return [p, q, -(p * c + q * f), r, s, -(r * c + s * f)];
}

export function transformPoint([a, b, c, d, e, f]: Transform, [x, y]: readonly [number, number]): Point {
  return [a * x + b * y + c, d * x + e * y + f];
}
