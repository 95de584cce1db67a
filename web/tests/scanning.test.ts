import { beforeEach, expect, test } from 'vitest';
import type { Detection } from '../src/engine/detection';
import { blank, type Pixels } from '../src/engine/imaging';
import { FaceScanner } from '../src/engine/scanning';

const IMAGE = blank(640, 480);
const INTERVAL_S = 0.1;
const LARGE = makeFace(100, 160);
const OTHER = makeFace(400, 150);
const SMALL = makeFace(500, 40);
const UNCERTAIN = makeFace(100, 160, 0.7);

/** Faces of full scans, which find them one pixel to the right, and of reduced frames. */
let full: Detection[];
let reduced: Detection[];
/** Widths of the scanned images. */
let widths: number[];
let scanner: FaceScanner;

function makeFace(left: number, side: number, confidence = 0.95): Detection {
  return { box: [left, 100, left + side, 100 + side], landmarks: [[left, 100]], confidence };
}

async function scan({ width }: Pixels): Promise<Detection[]> {
  widths.push(width);
  const k = IMAGE.width / width;
  const shift = k === 1 ? 1 : 0;
  return (k === 1 ? full : reduced).map(({ box: [x1, y1, x2, y2], landmarks: [[x, y]], confidence }) => ({
    box: [x1 / k + shift, y1 / k, x2 / k + shift, y2 / k],
    landmarks: [[x / k, y / k]],
    confidence,
  }));
}

async function lefts(frame: number): Promise<number[]> {
  return (await scanner.detect(IMAGE, INTERVAL_S * frame)).map(({ box }) => box[0]);
}

beforeEach(async () => {
  full = [LARGE];
  reduced = [LARGE];
  scanner = new FaceScanner(scan);
  widths = [];
  await scanner.detect(IMAGE, 0);
  expect(widths).toEqual([640]);
  widths = [];
});

test('large faces are detected in reduced frames, in pixels of the frame', async () => {
  expect(await scanner.detect(IMAGE, INTERVAL_S)).toEqual([LARGE]);
  expect(widths).toEqual([320]);
});

test('the full frame is scanned about once a second, and faces keep the boxes of reduced frames', async () => {
  for (let frame = 1; frame < 25; frame++) expect(await lefts(frame)).toEqual([100]);
  const isFull = widths.map((width) => width === 640);
  expect(isFull.filter(Boolean)).toHaveLength(2);
});

test('a small face beside a large one is found by the next full scan', async () => {
  full = [LARGE, SMALL];
  for (let frame = 1; frame < 10; frame++) expect(await lefts(frame)).toEqual([100]);
  for (let frame = 10; frame < 30; frame++) expect(await lefts(frame)).toEqual([101, 501]);
});

test.each([
  ['misses the face', []],
  ['has a small face', [LARGE, SMALL]],
  ['has an uncertain face', [UNCERTAIN]],
])('full frames are scanned for a second where the reduced one %s', async (_, faces) => {
  reduced = faces;
  for (let frame = 1; frame < 11; frame++) expect(await lefts(frame)).toEqual([101]);
  expect(widths).toEqual([320, ...Array(10).fill(640)]);
  await lefts(12);
  expect(widths.slice(11)).toEqual([320, 640]);
});

test('a face that the full scan does not confirm is not returned', async () => {
  reduced = [LARGE, OTHER];
  expect(await lefts(1)).toEqual([101]);
});

test('another large face is returned at once and stays in reduced frames', async () => {
  full = reduced = [LARGE, OTHER];
  for (const frame of [1, 2]) expect(await lefts(frame)).toEqual([100, 400]);
  expect(widths).toEqual([320, 640, 320]);
});

test.each([
  ['no face', []],
  ['a small face', [LARGE, SMALL]],
  ['an uncertain face', [UNCERTAIN]],
])('full frames are scanned with %s', async (_, faces) => {
  full = faces;
  scanner.restart();
  for (let frame = 1; frame < 20; frame++) await lefts(frame);
  expect(new Set(widths)).toEqual(new Set([640]));
});

test('a face that shrinks a little stays in reduced frames', async () => {
  full = reduced = [makeFace(100, 100)];
  for (let frame = 1; frame < 20; frame++) expect(await lefts(frame)).toEqual([100]);
  scanner.restart();
  for (const frame of [20, 21]) expect(await lefts(frame)).toEqual([101]);
});

test('frames below 640 pixels are never reduced', async () => {
  const image = blank(639, 480);
  scanner.restart();
  for (let frame = 0; frame < 4; frame++) await scanner.detect(image, INTERVAL_S * frame);
  expect(widths).toEqual([639, 639, 639, 639]);
});
