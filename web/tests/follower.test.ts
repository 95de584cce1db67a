import { beforeEach, expect, test, vi } from 'vitest';
import geometry from '../../src/mien/assets/face-geometry.json';
import { ImageAnalyzer, type Models } from '../src/engine/analyzer';
import { FaceFollower } from '../src/engine/follower';
import { blank, type Pixels } from '../src/engine/imaging';
import { Stopwatch } from '../src/engine/stopwatch';
import { withDetailed } from './fixtures';

const LABELS = ['neutral', 'happiness'];
const WIDTH = 320;
const HEIGHT = 256;

/** Network runs since the start of the test. */
let runs: { detector: number; landmarks: number; expression: number };
/** Cell of 8 pixels in which the detector finds a face; null for none. */
let cell: { column: number; row: number } | null;
/** The detector finds a smaller face above it too. */
let hasOther: boolean;
/** Horizontal offset of the nose, in cells. */
let noseOffset: number;
/** Confidence of the detector. */
let confidence: number;
/** Logit of the mesh's presence, by the number of the run. */
let presence: (run: number) => number;
let follower: FaceFollower;

beforeEach(() => {
  // Inference takes no time, so that the schedule does not slow down.
  vi.spyOn(performance, 'now').mockReturnValue(0);
  runs = { detector: 0, landmarks: 0, expression: 0 };
  cell = { column: 18, row: 14 };
  hasOther = false;
  noseOffset = 0;
  confidence = 0.9;
  presence = () => 9;
  follower = createFollower(true);
});

function createFollower(isLive: boolean, maxFaces?: number): FaceFollower {
  const stopwatch = new Stopwatch();
  return new FaceFollower(new ImageAnalyzer(stubModels(), stopwatch, maxFaces), stopwatch, isLive);
}

function stubModels(): Models {
  return {
    detector: {
      async run(_, dims) {
        runs.detector += Number(dims[2] === WIDTH);
        return detectorOutputs(dims);
      },
    },
    mesh: withDetailed({
      async run() {
        return [frontalMesh(), Float32Array.of(presence(runs.landmarks++))];
      },
    }),
    expression: {
      outputs: ['logits'],
      async run() {
        runs.expression++;
        return [Float32Array.of(0, 2)];
      },
    },
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

/** Return detector outputs with one face of 64 pixels, and perhaps one of 48. */
function detectorOutputs([, height, width]: readonly number[]): Float32Array[] {
  const count = [8, 16, 32].reduce((total, stride) => total + (height * width) / stride ** 2, 0);
  const [confidences, cells] = [new Float32Array(count), new Float32Array(16 * count)];
  if (cell && width === WIDTH) {
    const index = cell.row * (width / 8) + cell.column;
    confidences[index] = confidence;
    const points = [-1.5, -1, 1.5, -1, noseOffset, 0.5, -1, 2, 1, 2];
    cells.set([0, 0, 0, 0, Math.log(8), Math.log(8), ...points], 16 * index);
    if (hasOther) {
      confidences[4] = 0.95;
      cells.set([0, 0, 0, 4, Math.log(6), Math.log(6), ...points.map((value) => value + 1)], 16 * 4);
    }
  }
  return [confidences, cells];
}

/** Return an upright, frontal mesh in pixels of the network's crop. */
function frontalMesh(): Float32Array {
  const points = new Float32Array(3 * 478);
  for (const [point, , x, y, z] of geometry.landmarks) {
    points.set([128 + 9 * x, 128 - 9 * y, -9 * z], 3 * point);
  }
  return points;
}

function texturedImage(): Pixels {
  const image = blank(WIDTH, HEIGHT);
  for (let index = 0; index < image.data.length; index++) image.data[index] = (index % 997) % 256;
  return image;
}

test('predicts every third frame at 30 frames per second and tracks in between', async () => {
  const frames = [];
  for (let frame = 0; frame < 7; frame++) frames.push((await follower.step(texturedImage(), frame / 30))[0]);
  expect(runs).toEqual({ detector: 3, landmarks: 3, expression: 3 });
  expect(frames.map((face) => face.track_id)).toEqual(Array(7).fill(1));
  expect(frames.map((face) => face.expression?.label ?? null)).toEqual(
    [0, 1, 2, 3, 4, 5, 6].map((frame) => (frame % 3 ? null : 'happiness')),
  );
  expect(frames.every((face) => face.smoothed?.label === 'happiness' && face.head_pose_deg && face.quality)).toBe(true);
  expect(frames[1].bbox_xyxy).toEqual([112, 80, 176, 144]);
  expect(frames[1].head_pose_deg).toEqual(frames[0].head_pose_deg);
});

test('only the largest faces of a video are predicted and tracked', async () => {
  hasOther = true;
  const counts = async (maxFaces?: number) => {
    follower = createFollower(true, maxFaces);
    const frames = [];
    for (let frame = 0; frame < 4; frame++) frames.push(await follower.step(texturedImage(), frame / 30));
    return frames.map((faces) => faces.map(({ bbox_xyxy: [left] }) => left));
  };
  expect(await counts()).toEqual(Array(4).fill([112, 8]));
  expect(runs.landmarks).toBe(4);
  expect(await counts(1)).toEqual(Array(4).fill([112]));
  expect(runs.landmarks).toBe(6);
});

test('after three predictions, reuses a pose until the head turns or one second has passed', async () => {
  for (const time_s of [0, 0.2, 0.4]) await follower.step(texturedImage(), time_s);
  expect(runs.landmarks).toBe(3);
  await follower.step(texturedImage(), 1);
  expect(runs.landmarks).toBe(3);
  await follower.step(texturedImage(), 1.5);
  expect(runs.landmarks).toBe(4);
  noseOffset = 0.5;
  await follower.step(texturedImage(), 1.8);
  expect(runs.landmarks).toBe(5);
});

test('searches an upside-down head in every prediction', async () => {
  // upright, 45 and -45 degrees, then 180 degrees and four others
  presence = (run) => (run % 8 === 3 ? 14 : 2);
  for (let frame = 0; frame < 6; frame++) {
    const [face] = await follower.step(texturedImage(), 0.2 * frame);
    expect(Math.abs(face.head_pose_deg?.roll ?? 0)).toBeCloseTo(180, 0);
  }
  expect(runs.landmarks).toBe(8 * 6);
});

test('a lost face is not reported and keeps its number when it returns', async () => {
  await follower.step(texturedImage(), 0);
  const lastCell = cell;
  cell = null;
  expect(await follower.step(texturedImage(), 0.6)).toEqual([]);
  expect(await follower.step(texturedImage(), 0.62)).toEqual([]);
  cell = lastCell;
  expect((await follower.step(texturedImage(), 0.9))[0].track_id).toBe(1);
});

test('a face that one detection misses keeps its pose', async () => {
  for (const time_s of [0, 0.2, 0.4]) await follower.step(texturedImage(), time_s);
  const lastCell = cell;
  cell = null;
  expect(await follower.step(texturedImage(), 0.6)).toEqual([]);
  cell = lastCell;
  const [face] = await follower.step(texturedImage(), 0.8);
  expect([face.track_id, runs.landmarks]).toEqual([1, 3]);
  expect(face.head_pose_deg).not.toBeNull();
});

test('on a slow device the frames of a file have as many detections as on a fast one', async () => {
  let now_ms = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now_ms += 400;
    return now_ms;
  });
  follower = createFollower(false);
  for (let frame = 0; frame < 7; frame++) await follower.step(texturedImage(), frame / 30);
  expect(runs.detector).toBe(3);
});

test('on a slow device a face is tracked until the next prediction', async () => {
  let now_ms = 0;
  // Every stage of a prediction takes 400 ms.
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now_ms += 400;
    return now_ms;
  });
  await follower.step(texturedImage(), 0);
  expect((await follower.step(texturedImage(), 2.5))[0]).toMatchObject({ track_id: 1, expression: null });
  expect(runs.detector).toBe(1);
  expect((await follower.step(texturedImage(), 20))[0].track_id).toBe(1);
});

test('after a scene cut, faces get new numbers and the frame is predicted at once', async () => {
  await follower.step(texturedImage(), 0);
  const next = blank(WIDTH, HEIGHT);
  for (let index = 0; index < next.data.length; index++) {
    next.data[index] = index < next.data.length / 2 ? 250 : 20;
  }
  const [face] = await follower.step(next, 0.03);
  expect(face.track_id).toBe(2);
  expect(face.expression).not.toBeNull();
});

test.each([NaN, Infinity, -Infinity])('rejects the timestamp %d and continues', async (time_s) => {
  await expect(follower.step(texturedImage(), time_s)).rejects.toThrow('time must be finite');
  expect(await follower.step(texturedImage(), 0)).toHaveLength(1);
});

test('rejects timestamps that go backwards', async () => {
  await follower.step(texturedImage(), 1);
  await expect(follower.step(texturedImage(), 0.5)).rejects.toThrow(RangeError);
});

test('an uncertain face without a mesh has no label until a mesh fits its track', async () => {
  [confidence, presence] = [0.7, () => -1];
  for (const time_s of [0, 0.04, 0.1]) {
    const [face] = await follower.step(texturedImage(), time_s);
    expect([face.is_face_doubtful, face.smoothed?.label]).toEqual([true, null]);
  }
  presence = () => 9;
  const [fitted] = await follower.step(texturedImage(), 1);
  expect([fitted.is_face_doubtful, fitted.expression?.label, fitted.smoothed?.label]).toEqual([
    false,
    'happiness',
    'happiness',
  ]);
  presence = () => -1;
  noseOffset = 0.5;
  const [doubtful] = await follower.step(texturedImage(), 2);
  expect([doubtful.is_face_doubtful, doubtful.expression?.label, doubtful.smoothed?.label]).toEqual([
    true,
    null,
    'happiness',
  ]);
});
