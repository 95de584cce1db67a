/** Finding faces with YuNet: `mien/faces/detection.py` in TypeScript. */

import { boxArea, boxInside, boxIou, round, type Box, type Point } from './geometry';
import { quarterTurned, type Pixels } from './imaging';
import type { Network } from './network';
import { resize } from './resizing';

/** One face that was found, in pixels of the picture. */
export interface Found {
  box: Box;
  /** The subject's right eye, left eye, nose tip, right and left mouth corner. */
  landmarks: Point[];
  confidence: number;
}

const MAX_SIDE = 640;
const THRESHOLD = 0.6;
const NMS_IOU = 0.3;
const STRIDES = [8, 16, 32];
/** Long side of the second, smaller look, for faces that fill the picture, and the border around it as a share. */
const CLOSE_UP_SIDE = 160;
const CLOSE_UP_PADDING = 0.25;
/** It is asked for faces that cover more of the picture than this. */
const BIG_FACE = 0.25;
/** A box of which more lies inside a more confident one, of at most so many times its area, is a part of that face. */
const MOST_INSIDE = 0.7;
const PART_TIMES = 16;
/** Least confidence of a face in a picture laid on its side. */
const LEAST_TURNED = 0.8;
const MOST_CANDIDATES = 5000;
const OUTPUTS = STRIDES.flatMap((stride) => ['cls', 'obj', 'bbox', 'kps'].map((kind) => `${kind}_${stride}`));

/** All faces of a picture, largest first; where there is none and it may lie on its side, of the picture laid on either. */
export async function detect(network: Network, image: Pixels, turned: boolean): Promise<Found[]> {
  const found = await search(network, image);
  if (!turned || found.length > 0) return found;
  const left = await searchTurned(network, image, 1);
  const right = await searchTurned(network, image, 3);
  return bestConfidence(right) > bestConfidence(left) ? right : left;
}

/** Faces of a picture turned a quarter once or three times, counterclockwise; in pixels of the picture. */
async function searchTurned(network: Network, image: Pixels, turns: 1 | 3): Promise<Found[]> {
  const found = await search(network, quarterTurned(image, turns));
  const back = ([x, y]: Point): Point => (turns === 1 ? [image.width - y, x] : [y, image.height - x]);
  return found
    .filter(({ confidence }) => confidence >= LEAST_TURNED)
    .map(({ box, landmarks, confidence }) => {
      const [[x1, y1], [x2, y2]] = [back([box[0], box[1]]), back([box[2], box[3]])];
      const upright: Box = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
      return { box: upright, landmarks: landmarks.map(back), confidence };
    });
}

function bestConfidence(found: Found[]): number {
  return Math.max(0, ...found.map(({ confidence }) => confidence));
}

async function search(network: Network, image: Pixels): Promise<Found[]> {
  const side = Math.max(image.width, image.height);
  const found = side > CLOSE_UP_SIDE ? await look(network, image, Math.min(side, MAX_SIDE), 0) : [];
  const closeUp = await look(network, image, CLOSE_UP_SIDE, CLOSE_UP_PADDING);
  const least = found.length > 0 ? BIG_FACE * image.width * image.height : -1;
  found.push(...closeUp.filter(({ box }) => boxArea(box) > least));
  return keepBest(found).sort((one, other) => boxArea(other.box) - boxArea(one.box));
}

/** Non-maximum suppression: of two faces that overlap much the less confident is dropped, and what is a part of another. */
export function keepBest(found: Found[]): Found[] {
  const kept: Found[] = [];
  for (const face of [...found].sort((one, other) => other.confidence - one.confidence).slice(0, MOST_CANDIDATES)) {
    if (kept.every((better) => boxIou(face.box, better.box) <= NMS_IOU && !isPart(face.box, better.box))) kept.push(face);
  }
  return kept;
}

function isPart(box: Box, whole: Box): boolean {
  return boxInside(box, whole) > MOST_INSIDE && boxArea(whole) <= PART_TIMES * boxArea(box);
}

/** Faces at one scale, before suppression. */
async function look(network: Network, image: Pixels, side: number, padding: number): Promise<Found[]> {
  const scale = side / Math.max(image.width, image.height);
  const width = Math.max(1, round(image.width * scale));
  const height = Math.max(1, round(image.height * scale));
  const border = round(side * padding);
  const { tensor, dims } = toInput(resize(image, width, height), border);
  const candidates = decode(await network.run(tensor, dims, OUTPUTS), dims[3]);
  const back = ([x, y]: Point): Point => [((x - border) * image.width) / width, ((y - border) * image.height) / height];
  return candidates.map(({ box, landmarks, confidence }) => ({
    box: [...back([box[0], box[1]]), ...back([box[2], box[3]])],
    landmarks: landmarks.map(back),
    confidence,
  }));
}

/** (1, 3, H, W) BGR, 0..255; black border, black to the right and below up to multiples of 32. */
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

/** Candidates over the threshold in pixels of the input, from the twelve outputs in the order of `OUTPUTS`. */
export function decode(outputs: Float32Array[], width: number): Found[] {
  return STRIDES.flatMap((stride, place) => decodeStride(outputs.slice(4 * place, 4 * place + 4), stride, width / stride));
}

function decodeStride([classes, objectness, boxes, points]: Float32Array[], stride: number, columns: number): Found[] {
  const found: Found[] = [];
  for (let cell = 0; cell < classes.length; cell++) {
    const confidence = Math.sqrt(share(classes[cell]) * share(objectness[cell]));
    if (confidence < THRESHOLD) continue;
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    const [x, y, wide, high] = boxes.subarray(4 * cell, 4 * cell + 4);
    const [centreX, centreY] = [(column + x) * stride, (row + y) * stride];
    const [halfX, halfY] = [(Math.exp(wide) * stride) / 2, (Math.exp(high) * stride) / 2];
    const landmarks = Array.from({ length: 5 }, (_, point): Point => {
      const at = 10 * cell + 2 * point;
      return [(points[at] + column) * stride, (points[at + 1] + row) * stride];
    });
    found.push({ box: [centreX - halfX, centreY - halfY, centreX + halfX, centreY + halfY], landmarks, confidence });
  }
  return found;
}

function share(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
