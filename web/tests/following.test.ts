import { beforeEach, expect, test, vi } from 'vitest';
import { Analyzer, type Models } from '../src/engine/analyzer';
import { FaceFollower } from '../src/engine/following';
import { blank, type Pixels } from '../src/engine/imaging';
import { Stopwatch } from '../src/engine/stopwatch';
import geometry from '../../src/mien/assets/face-geometry.json';

const LABELS = ['neutral', 'happiness'];
const WIDE = 320;
const HIGH = 256;

/** Runs of the networks since the test began. */
let runs: { detector: number; landmarks: number; expression: number };
/** Where the detector finds a face, in cells of 8 pixels; null for none. */
let cell: { column: number; row: number } | null;
/** How far the subject's nose stands off its place, in cells. */
let nose: number;
let follower: FaceFollower;

beforeEach(() => {
  vi.spyOn(performance, 'now').mockReturnValue(0); // readings take no time, so that the pace does not slow down
  runs = { detector: 0, landmarks: 0, expression: 0 };
  [cell, nose] = [{ column: 18, row: 14 }, 0];
  const stopwatch = new Stopwatch();
  follower = new FaceFollower(new Analyzer(models(), stopwatch), stopwatch);
});

function models(): Models {
  return {
    detector: { run: async (_, dims) => ((runs.detector += Number(dims[3] === WIDE)), detected(dims)) },
    landmarks: { run: async () => (runs.landmarks++, [mesh(), Float32Array.of(5)]) },
    expression: { run: async () => (runs.expression++, [Float32Array.of(0, 2)]) },
    manifest: {
      labels: LABELS,
      input: { size: 16 },
      alignment: { template: 'ferplus', margin: 0 },
      temperature: 1,
      abstain_below: 0.5,
    },
    geometry: geometry as never,
  };
}

/** The twelve outputs of the detector, with one face of 64 pixels. */
function detected(dims: readonly number[]): Float32Array[] {
  const columns = dims[3] / 8;
  return [8, 16, 32].flatMap((stride) => {
    const cells = (dims[2] * dims[3]) / stride ** 2;
    const [classes, objectness, boxes, points] = [1, 1, 4, 10].map((wide) => new Float32Array(cells * wide));
    if (stride === 8 && cell && dims[3] === WIDE) {
      const place = cell.row * columns + cell.column;
      classes[place] = objectness[place] = 0.9;
      boxes.set([0, 0, Math.log(8), Math.log(8)], 4 * place);
      points.set([-1.5, -1, 1.5, -1, nose, 0.5, -1, 2, 1, 2], 10 * place);
    }
    return [classes, objectness, boxes, points];
  });
}

/** A level face that looks into the camera, in pixels of the network's crop. */
function mesh(): Float32Array {
  const points = new Float32Array(3 * 478);
  for (const [point, , x, y, z] of geometry.landmarks) points.set([128 + 9 * x, 128 - 9 * y, -9 * z], 3 * point);
  return points;
}

function scene(shade = 0): Pixels {
  const image = blank(WIDE, HIGH);
  image.data.forEach((_, place) => (image.data[place] = (place % (997 - shade)) % 256));
  return image;
}

test('a face is read in every third frame of 30 a second, and followed in between', async () => {
  const frames = [];
  for (let frame = 0; frame < 7; frame++) frames.push((await follower.step(scene(), frame / 30))[0]);
  expect(runs).toEqual({ detector: 3, landmarks: 1, expression: 3 });
  expect(frames.map((face) => face.track_id)).toEqual(Array(7).fill(1));
  expect(frames.map((face) => face.expression?.label ?? null)).toEqual([0, 1, 2, 3, 4, 5, 6].map((k) => (k % 3 ? null : 'happiness')));
  expect(frames.every((face) => face.smoothed?.label === 'happiness' && face.head_pose_deg && face.quality)).toBe(true);
  expect(frames[1].bbox_xyxy).toEqual([112, 80, 176, 144]);
  expect(frames[1].head_pose_deg).toEqual(frames[0].head_pose_deg);
});

test('a pose holds until the head turns, or a second has gone by', async () => {
  await follower.step(scene(), 0);
  await follower.step(scene(), 0.6);
  expect(runs.landmarks).toBe(1);
  await follower.step(scene(), 1.2);
  expect(runs.landmarks).toBe(2);
  nose = 0.5;
  await follower.step(scene(), 1.8);
  expect(runs.landmarks).toBe(3);
});

test('a face that is gone is told no longer, and keeps its number when it comes back', async () => {
  await follower.step(scene(), 0);
  const seen = cell;
  cell = null;
  expect(await follower.step(scene(), 0.6)).toEqual([]);
  expect(await follower.step(scene(), 0.62)).toEqual([]);
  cell = seen;
  expect((await follower.step(scene(), 0.9))[0].track_id).toBe(1);
});

test('on a slow device a face is followed until it is read again', async () => {
  let now_ms = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now_ms += 400)); // of the steps of a reading each takes so long
  await follower.step(scene(), 0);
  expect((await follower.step(scene(), 2.5))[0]).toMatchObject({ track_id: 1, expression: null });
  expect(runs.detector).toBe(1);
  expect((await follower.step(scene(), 20))[0].track_id).toBe(2);
});

test('after a cut nobody keeps a number, and the frame is read at once', async () => {
  await follower.step(scene(), 0);
  const other = blank(WIDE, HIGH);
  other.data.forEach((_, place) => (other.data[place] = place < other.data.length / 2 ? 250 : 20));
  const [face] = await follower.step(other, 0.03);
  expect(face.track_id).toBe(2);
  expect(face.expression).not.toBeNull();
});

test('time must not go back', async () => {
  await follower.step(scene(), 1);
  await expect(follower.step(scene(), 0.5)).rejects.toThrow(RangeError);
  await expect(follower.step(scene(), NaN)).rejects.toThrow(RangeError);
});
