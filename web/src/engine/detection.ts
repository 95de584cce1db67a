/** Face detection with YuNet: port of `mien/faces/detection.py`. */

import { type Box, boxArea, boxInside, boxIou, type Point, round } from './geometry';
import { type Pixels, rotateQuarter } from './imaging';
import type { Network } from './network';
import { resize } from './resizing';

/** One detected face, in pixels of the image. */
export interface Detection {
  box: Box;
  /** The subject's right eye, left eye, nose tip, right and left mouth corner. */
  landmarks: Point[];
  confidence: number;
}

/** Maximum long side of the detector's input, in pixels. */
const DETECTOR_SIZE = 640;
const MIN_CONFIDENCE = 0.6;
const NMS_IOU = 0.3;
const STRIDES = [8, 16, 32];
/** Long side of the coarse scan, which finds faces that fill the image. */
const COARSE_SIZE = 160;
/** Border around the coarse scan, as a fraction of its long side. */
const COARSE_PADDING = 0.25;
/** Minimum area of a face from the coarse scan, as a fraction of the image's area. */
const COARSE_MIN_AREA = 0.25;
/** Fraction of a box inside a more confident box above which it is dropped as a fragment of that face. */
const MAX_CONTAINMENT = 0.7;
/** Ratio of the two areas above which a contained box is kept: it is a person in the background. */
const MAX_FRAGMENT_RATIO = 16;
/** Minimum confidence of a face in an image rotated by 90 degrees. */
const MIN_ROTATED_CONFIDENCE = 0.8;
const OUTPUTS = STRIDES.flatMap((stride) => ['cls', 'obj', 'bbox', 'kps'].map((kind) => `${kind}_${stride}`));

/** Detect all faces, largest first. With `tryRotations`, an image without faces is searched rotated by 90 degrees too. */
export async function detect(network: Network, image: Pixels, tryRotations: boolean): Promise<Detection[]> {
  const upright = await search(network, image);
  if (!tryRotations || upright.length > 0) return upright;
  const left = await searchRotated(network, image, 1);
  const right = await searchRotated(network, image, 3);
  return maxConfidence(right) > maxConfidence(left) ? right : left;
}

/** Search an image rotated counterclockwise by one or three quarter turns; results are in pixels of the original. */
async function searchRotated(network: Network, image: Pixels, quarterTurns: 1 | 3): Promise<Detection[]> {
  const detections = await search(network, rotateQuarter(image, quarterTurns));
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

async function search(network: Network, image: Pixels): Promise<Detection[]> {
  const size = Math.max(image.width, image.height);
  const detections = size > COARSE_SIZE ? await scan(network, image, Math.min(size, DETECTOR_SIZE), 0) : [];
  const coarse = await scan(network, image, COARSE_SIZE, COARSE_PADDING);
  const minArea = detections.length > 0 ? COARSE_MIN_AREA * image.width * image.height : -1;
  detections.push(...coarse.filter(({ box }) => boxArea(box) > minArea));
  return suppressNonMaxima(detections).sort((a, b) => boxArea(b.box) - boxArea(a.box));
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

/** Return the faces found at one scale, before suppression. */
async function scan(network: Network, image: Pixels, size: number, padding: number): Promise<Detection[]> {
  const scale = size / Math.max(image.width, image.height);
  const width = Math.max(1, round(image.width * scale));
  const height = Math.max(1, round(image.height * scale));
  const border = round(size * padding);
  const { tensor, dims } = toInput(resize(image, width, height), border);
  const candidates = decode(await network.run(tensor, dims, OUTPUTS), dims[3]);
  const toImage = ([x, y]: Point): Point => [
    ((x - border) * image.width) / width,
    ((y - border) * image.height) / height,
  ];
  return candidates.map(({ box, landmarks, confidence }) => ({
    box: [...toImage([box[0], box[1]]), ...toImage([box[2], box[3]])],
    landmarks: landmarks.map(toImage),
    confidence,
  }));
}

/** Return (1, 3, H, W) BGR, 0..255, with a black border, padded at the right and bottom to multiples of 32. */
export function toInput(image: Pixels, border: number): { tensor: Float32Array; dims: number[] } {
  const width = 32 * Math.ceil((image.width + 2 * border) / 32);
  const height = 32 * Math.ceil((image.height + 2 * border) / 32);
  const plane = width * height;
  const tensor = new Float32Array(3 * plane);
  for (let y = 0, from = 0; y < image.height; y++) {
    for (let to = (y + border) * width + border, end = to + image.width; to < end; to++, from += 4) {
      tensor[to] = image.data[from + 2];
      tensor[to + plane] = image.data[from + 1];
      tensor[to + 2 * plane] = image.data[from];
    }
  }
  return { tensor, dims: [1, 3, height, width] };
}

/** Decode candidates above the minimum confidence from the outputs in the order of `OUTPUTS`, in input pixels. */
export function decode(outputs: Float32Array[], width: number): Detection[] {
  return STRIDES.flatMap((stride, index) =>
    decodeStride(outputs.slice(4 * index, 4 * index + 4), stride, width / stride),
  );
}

function decodeStride(
  [classes, objectness, boxes, points]: Float32Array[],
  stride: number,
  columns: number,
): Detection[] {
  const candidates: Detection[] = [];
  for (let cell = 0; cell < classes.length; cell++) {
    const confidence = Math.sqrt(clipUnit(classes[cell]) * clipUnit(objectness[cell]));
    if (confidence < MIN_CONFIDENCE) continue;
    const column = cell % columns;
    const row = Math.floor(cell / columns);
    const [x, y, logWidth, logHeight] = boxes.subarray(4 * cell, 4 * cell + 4);
    const [centerX, centerY] = [(column + x) * stride, (row + y) * stride];
    const [halfX, halfY] = [(Math.exp(logWidth) * stride) / 2, (Math.exp(logHeight) * stride) / 2];
    const landmarks = Array.from({ length: 5 }, (_, point): Point => {
      const at = 10 * cell + 2 * point;
      return [(points[at] + column) * stride, (points[at + 1] + row) * stride];
    });
    candidates.push({
      box: [centerX - halfX, centerY - halfY, centerX + halfX, centerY + halfY],
      landmarks,
      confidence,
    });
  }
  return candidates;
}

function clipUnit(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
