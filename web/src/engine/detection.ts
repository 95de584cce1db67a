/** Face detection with YuNet: port of `mien/faces/detection.py`. */

import { type Box, boxArea, boxInside, boxIou, type Point, round } from './geometry.ts';
import { averageBlocks, type Pixels, rotateQuarter } from './imaging.ts';
import type { Network } from './network.ts';
import { resize } from './resizing.ts';

/** One detected face, in pixels of the image. */
export interface Detection {
  box: Box;
  /** The subject's right eye, left eye, nose tip, right and left mouth corner. */
  landmarks: Point[];
  confidence: number;
}

/** How an image is searched. */
export interface DetectionOptions {
  /** Search an image without faces rotated by 90 degrees too. */
  tryRotations: boolean;
  /** Number of faces to return, the largest. One face is found in less time, where it is large. */
  maxFaces: number;
}

/** Maximum long side of the detector's input, in pixels. */
const DETECTOR_SIZE = 640;
const MIN_CONFIDENCE = 0.6;
const NMS_IOU = 0.3;
/** Sides of the network's cells in pixels of its input; the cells of the smallest come first. */
const STRIDES = [8, 16, 32];
/** Long side of the coarse scan, which finds faces that fill the image. */
const COARSE_SIZE = 160;
/** Border around the coarse scan, in pixels. */
const COARSE_BORDER = 40;
/** Minimum area of a face from the coarse scan, as a fraction of the image's area. */
const COARSE_MIN_AREA = 0.25;
/** Fraction of a box inside a more confident box above which it is dropped as a fragment of that face. */
const MAX_CONTAINMENT = 0.7;
/** Confidence from which a candidate of the first scan may be a face that only the coarse scan finds. */
const WEAK_CONFIDENCE = 0.05;
/** Minimum area of such a candidate, as a fraction of the image's area. */
const WEAK_MIN_AREA = 0.1;
/** Minimum confidence of a face that explains such a candidate, as a duplicate or fragment of it. */
const EXPLAINING_CONFIDENCE = 0.8;
/** Ratio of the two areas above which a contained box is kept: it is a person in the background. */
const MAX_FRAGMENT_RATIO = 16;
/** Minimum long side of a reduced image, in pixels. */
const REDUCED_SIZE = 320;
/** Minimum longer side of a large face, as a share of the image's long side. */
export const LARGE_LENGTH = 0.17;
/** Minimum confidence of a large face for which a reduced image suffices. */
const CERTAIN_CONFIDENCE = 0.8;
/** Minimum confidence of a face in an image rotated by 90 degrees. */
const MIN_ROTATED_CONFIDENCE = 0.8;
const OUTPUTS = ['confidences', 'cells'];
/** Number of values of a cell: logits of class and objectness, box and landmarks. */
const CELL_VALUES = 16;

/** Detect the faces of an image, largest first. */
export async function detect(network: Network, image: Pixels, options: DetectionOptions): Promise<Detection[]> {
  const { tryRotations, maxFaces } = options;
  let faces = maxFaces === 1 ? await searchLargeFace(network, image) : [];
  if (faces.length === 0) faces = await search(network, image, DETECTOR_SIZE);
  if (tryRotations && faces.length === 0) {
    const left = await searchRotated(network, image, 1);
    const right = await searchRotated(network, image, 3);
    faces = maxConfidence(right) > maxConfidence(left) ? right : left;
  }
  return faces.slice(0, maxFaces);
}

/**
 * Return the largest face if it is large and certain in a reduced image, otherwise none. A face that is missed there is
 * smaller, so full scans would return the same one.
 */
async function searchLargeFace(network: Network, image: Pixels): Promise<Detection[]> {
  const k = reduction(image);
  if (k < 2) return [];
  const faces = await detectReduced(image, k, (reduced) => search(network, reduced, REDUCED_SIZE));
  const largest = faces.slice(0, 1);
  return areLarge(largest, image, LARGE_LENGTH) ? largest : [];
}

/** Return the side of the blocks of pixels that `detectReduced` averages; 1 for a small image, which is not reduced. */
export function reduction({ width, height }: Pixels): number {
  return Math.max(1, Math.floor(Math.max(width, height) / REDUCED_SIZE));
}

/** Return the faces of an image whose blocks of k x k pixels are averaged, in pixels of the image. */
export async function detectReduced(
  image: Pixels,
  k: number,
  detectFaces: (reduced: Pixels) => Promise<Detection[]>,
): Promise<Detection[]> {
  const faces = await detectFaces(averageBlocks(image, 0, 0, image.width, image.height, k));
  return faces.map(({ box, landmarks, confidence }) => ({
    box: box.map((value) => k * value) as Box,
    landmarks: landmarks.map(([x, y]): Point => [k * x, k * y]),
    confidence,
  }));
}

/** Return whether all faces are certain, and at least as long as a share of the image's long side. */
export function areLarge(faces: readonly Detection[], image: Pixels, minLength: number): boolean {
  const min_px = minLength * Math.max(image.width, image.height);
  return faces.every(
    ({ box: [x1, y1, x2, y2], confidence }) => confidence >= CERTAIN_CONFIDENCE && Math.max(x2 - x1, y2 - y1) >= min_px,
  );
}

/** Search an image rotated counterclockwise by one or three quarter turns; results are in pixels of the original. */
async function searchRotated(network: Network, image: Pixels, quarterTurns: 1 | 3): Promise<Detection[]> {
  const detections = await search(network, rotateQuarter(image, quarterTurns), DETECTOR_SIZE);
  const unrotate = ([x, y]: Point): Point => (quarterTurns === 1 ? [image.width - y, x] : [y, image.height - x]);
  return detections
    .filter(({ confidence }) => confidence >= MIN_ROTATED_CONFIDENCE)
    .map(({ box, landmarks, confidence }) => {
      const [x1, y1] = unrotate([box[0], box[1]]);
      const [x2, y2] = unrotate([box[2], box[3]]);
      const upright: Box = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
      return { box: upright, landmarks: landmarks.map(unrotate), confidence };
    });
}

function maxConfidence(detections: Detection[]): number {
  return Math.max(0, ...detections.map(({ confidence }) => confidence));
}

/** Search an image whose long side is reduced to a maximum. */
async function search(network: Network, image: Pixels, maxSide: number): Promise<Detection[]> {
  const size = Math.max(image.width, image.height);
  const area = image.width * image.height;
  const scaled = resizeTo(image, Math.min(size, maxSide));
  const candidates = size > COARSE_SIZE ? await scan(network, scaled, 0, image, WEAK_CONFIDENCE) : [];
  const detections = candidates.filter(({ confidence }) => confidence >= MIN_CONFIDENCE);
  if (isUnexplained(candidates, detections, area)) {
    const coarse = await scan(network, resizeTo(scaled, COARSE_SIZE), COARSE_BORDER, image, MIN_CONFIDENCE);
    const minArea = detections.length > 0 ? COARSE_MIN_AREA * area : -1;
    detections.push(...coarse.filter(({ box }) => boxArea(box) > minArea));
  }
  return suppressNonMaxima(detections).sort((a, b) => boxArea(b.box) - boxArea(a.box));
}

/** Return whether the coarse scan may find a face that the first scan missed. */
function isUnexplained(candidates: Detection[], detections: Detection[], area: number): boolean {
  if (detections.length === 0) return true;
  const faces = detections.filter(({ confidence }) => confidence >= EXPLAINING_CONFIDENCE);
  return candidates
    .filter(({ box }) => boxArea(box) > WEAK_MIN_AREA * area)
    .some((weak) =>
      faces.every(({ box }) => boxIou(weak.box, box) <= NMS_IOU && boxInside(weak.box, box) <= MAX_CONTAINMENT),
    );
}

/** Apply non-maximum suppression, and drop fragments of more confident detections. */
export function suppressNonMaxima(detections: Detection[]): Detection[] {
  const candidates = [...detections].sort((a, b) => b.confidence - a.confidence);
  const maxima: Detection[] = [];
  for (const face of candidates) {
    if (maxima.every(({ box }) => boxIou(face.box, box) <= NMS_IOU && !isFragment(face.box, box))) {
      maxima.push(face);
    }
  }
  return maxima;
}

function isFragment(box: Box, whole: Box): boolean {
  return boxInside(box, whole) > MAX_CONTAINMENT && boxArea(whole) <= MAX_FRAGMENT_RATIO * boxArea(box);
}

/** Resize an image to a long side. */
function resizeTo(image: Pixels, longSide: number): Pixels {
  const scale = longSide / Math.max(image.width, image.height);
  return resize(image, Math.max(1, round(image.width * scale)), Math.max(1, round(image.height * scale)));
}

/** Return the faces found in the scaled image, before suppression, in pixels of the image. */
async function scan(
  network: Network,
  scaled: Pixels,
  border: number,
  image: Pixels,
  minConfidence: number,
): Promise<Detection[]> {
  const { pixels, dims } = toInput(scaled, border);
  const [confidences, cells] = await network.run(pixels, dims, OUTPUTS);
  const toImage = ([x, y]: Point): Point => [
    ((x - border) * image.width) / scaled.width,
    ((y - border) * image.height) / scaled.height,
  ];
  return decode(confidences, cells, dims, minConfidence).map(({ box, landmarks, confidence }) => ({
    box: [...toImage([box[0], box[1]]), ...toImage([box[2], box[3]])],
    landmarks: landmarks.map(toImage),
    confidence,
  }));
}

/** Return (1, H, W, 3) RGB with a black border, padded at the right and bottom to multiples of 32. */
export function toInput(image: Pixels, border: number): { pixels: Uint8Array; dims: number[] } {
  const width = 32 * Math.ceil((image.width + 2 * border) / 32);
  const height = 32 * Math.ceil((image.height + 2 * border) / 32);
  const pixels = new Uint8Array(3 * width * height);
  for (let y = 0, from = 0; y < image.height; y++) {
    const start = 3 * ((y + border) * width + border);
    for (let to = start, end = start + 3 * image.width; to < end; to += 3, from += 4) {
      pixels[to] = image.data[from];
      pixels[to + 1] = image.data[from + 1];
      pixels[to + 2] = image.data[from + 2];
    }
  }
  return { pixels, dims: [1, height, width, 3] };
}

/** Decode candidates above a minimum confidence, in pixels of the input of shape `dims`. */
export function decode(
  confidences: Float32Array,
  cells: Float32Array,
  dims: readonly number[],
  minConfidence: number,
): Detection[] {
  const [, height, width] = dims;
  const candidates: Detection[] = [];
  let first = 0;
  for (const stride of STRIDES) {
    const columns = width / stride;
    const end = first + columns * (height / stride);
    for (let cell = first; cell < end; cell++) {
      if (confidences[cell] < minConfidence) continue;
      const corner: Point = [(cell - first) % columns, Math.floor((cell - first) / columns)];
      const values = cells.subarray(CELL_VALUES * cell, CELL_VALUES * (cell + 1));
      candidates.push({ ...decodeCell(values, corner, stride), confidence: confidences[cell] });
    }
    first = end;
  }
  return candidates;
}

function decodeCell(values: Float32Array, [column, row]: Point, stride: number): Omit<Detection, 'confidence'> {
  const [, , x, y, logWidth, logHeight, ...points] = values;
  const [centerX, centerY] = [(column + x) * stride, (row + y) * stride];
  const [halfX, halfY] = [(Math.exp(logWidth) * stride) / 2, (Math.exp(logHeight) * stride) / 2];
  return {
    box: [centerX - halfX, centerY - halfY, centerX + halfX, centerY + halfY],
    landmarks: Array.from({ length: 5 }, (_, point): Point => {
      return [(points[2 * point] + column) * stride, (points[2 * point + 1] + row) * stride];
    }),
  };
}
