/**
 * Boxes and plane transforms: `mien/geometry.py` in TypeScript.
 *
 * Pixel centres lie at whole numbers + 0.5: a picture of width W spans 0..W.
 */

export type Point = [number, number];
/** Left, top, right, bottom; right and bottom exclusive. */
export type Box = [number, number, number, number];
/** [a, b, c, d, e, f] maps (x, y) to (a x + b y + c, d x + e y + f). */
export type Transform = readonly [number, number, number, number, number, number];

/** Rounds halves to the even neighbour, as Python does. */
export function round(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

export function clip(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}

/** An empty or inverted box has area 0. */
export function boxArea(box: Box): number {
  return Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
}

export function boxCentre(box: Box): Point {
  return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
}

/** Intersection over union; 0 where both are empty. */
export function boxIou(one: Box, other: Box): number {
  const shared = sharedArea(one, other);
  const union = boxArea(one) + boxArea(other) - shared;
  return union > 0 ? shared / union : 0;
}

/** Share of the area of a box that lies inside another; 0 where it is empty. */
export function boxInside(box: Box, other: Box): number {
  const area = boxArea(box);
  return area > 0 ? sharedArea(box, other) / area : 0;
}

function sharedArea(one: Box, other: Box): number {
  return boxArea([
    Math.max(one[0], other[0]),
    Math.max(one[1], other[1]),
    Math.min(one[2], other[2]),
    Math.min(one[3], other[3]),
  ]);
}

/**
 * The rotation, uniform scale and shift that maps source onto target points best, in least squares (Umeyama 1991).
 *
 * Source points that all coincide give the shift alone.
 */
export function similarityTransform(source: readonly Point[], target: readonly Point[]): Transform {
  const [from, to] = [mean(source), mean(target)];
  let spread = 0;
  let cos = 0;
  let sin = 0;
  for (let place = 0; place < source.length; place++) {
    const [x, y] = [source[place][0] - from[0], source[place][1] - from[1]];
    const [u, v] = [target[place][0] - to[0], target[place][1] - to[1]];
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

/** The transform that undoes another. */
export function invert(matrix: Transform): Transform {
  const [a, b, c, d, e, f] = matrix;
  const size = determinant(matrix);
  const [p, q, r, s] = [e / size, -b / size, -d / size, a / size];
  return [p, q, -(p * c + q * f), r, s, -(r * c + s * f)];
}

export function transformPoint([a, b, c, d, e, f]: Transform, [x, y]: readonly [number, number]): Point {
  return [a * x + b * y + c, d * x + e * y + f];
}
