import { beforeEach, expect, test } from 'vitest';
import type { Detection } from '../src/engine/detection';
import { blank, type Pixels } from '../src/engine/imaging';
import { FaceScanner } from '../src/engine/scanning';

const IMAGE = blank(640, 480);
const INTERVAL_S = 0.1;
const LARGE = makeFace(100, 160);
const SMALL = makeFace(500, 40);

/** Faces of the frame in full scans, which find them one pixel to the right, and in quick ones. */
let full: Detection[];
let quick: Detection[];
/** Widths of the images of the scans. */
let widths: number[];
let scanner: FaceScanner;

function makeFace(left: number, side: number, confidence = 0.95): Detection {
  return { box: [left, 100, left + side, 100 + side], landmarks: [[left, 100]], confidence };
}

async function scan({ width }: Pixels): Promise<Detection[]> {
  widths.push(width);
  const k = IMAGE.width / width;
  const shift = k === 1 ? 1 : 0;
  return (k === 1 ? full : quick).map(({ box: [x1, y1, x2, y2], landmarks: [[x, y]], confidence }) => ({
    box: [x1 / k + shift, y1 / k, x2 / k + shift, y2 / k],
    landmarks: [[x / k, y / k]],
    confidence,
  }));
}

const lefts = (faces: Detection[]) => faces.map(({ box }) => box[0]);

beforeEach(async () => {
  full = [LARGE];
  quick = [LARGE];
  scanner = new FaceScanner(scan);
  widths = [];
  await scanner.detect(IMAGE, 0);
  expect(widths).toEqual([640]);
  widths = [];
});

test('large faces are found in reduced frames, in pixels of the frame', async () => {
  expect(await scanner.detect(IMAGE, INTERVAL_S)).toEqual([LARGE]);
  expect(widths).toEqual([320]);
});

test('two full scans are at most a second apart', async () => {
  const full_s = [0];
  for (let frame = 1; frame < 40; frame++) {
    await scanner.detect(IMAGE, 0.12 * frame);
    if (widths.at(-1) === 640) full_s.push(0.12 * frame);
  }
  const gaps_s = full_s.slice(1).map((time_s, index) => time_s - full_s[index]);
  expect(Math.max(...gaps_s)).toBeLessThanOrEqual(1);
  expect(Math.min(...gaps_s)).toBeGreaterThan(0.88);
});

test('a large face keeps the box of the quick scan in a full scan', async () => {
  full = [LARGE, SMALL];
  for (let frame = 1; frame < 10; frame++) expect(lefts(await scanner.detect(IMAGE, INTERVAL_S * frame))).toEqual([100]);
  expect(lefts(await scanner.detect(IMAGE, 1))).toEqual([100, 501]);
});

test.each([
  ['misses a face', []],
  ['finds a small face', [LARGE, SMALL]],
  ['finds an uncertain face', [makeFace(100, 160, 0.7)]],
])('a quick scan that %s is followed by a full one', async (_, found) => {
  full = [LARGE, SMALL];
  quick = found;
  expect(await scanner.detect(IMAGE, INTERVAL_S)).toHaveLength(2);
  expect(widths).toEqual([320, 640]);
});

test.each([
  ['no face', []],
  ['a small face', [LARGE, SMALL]],
  ['an uncertain face', [makeFace(100, 160, 0.7)]],
])('frames with %s are scanned in full', async (_, found) => {
  full = found;
  scanner.restart();
  for (let frame = 1; frame < 4; frame++) await scanner.detect(IMAGE, INTERVAL_S * frame);
  expect(widths).toEqual([640, 640, 640]);
});
