import { describe, expect, test } from 'vitest';
import { toFaceClasses } from '../src/fusion/classes';
import { conflict, logLinearPool } from '../src/fusion/pool';
import { faceWeight, voiceWeight } from '../src/fusion/reliability';
import { fuseTurn } from '../src/fusion/turn';
import { faceDuring } from '../src/ui/faceTurn';
import { History } from '../src/ui/history';
import { expectClose, fixture } from './fixtures';

const python = fixture('fusion');
/** JSON has no NaN; null is a class that a model lacks. */
const withNaN = (values: (number | null)[]) => values.map((value) => value ?? NaN);

describe('fusion equals that of Python', () => {
  test('pooled distributions', () => {
    for (const { distributions, weights, pooled } of python.pools) {
      expectClose(logLinearPool(distributions.map(withNaN), weights), pooled, 9);
    }
  });

  test('conflict', () => {
    for (const { face, voice, bits } of python.conflicts) {
      expect(conflict(withNaN(face), withNaN(voice))).toBeCloseTo(bits, 9);
    }
  });

  test('classes of voices as classes of faces', () => {
    for (const { voice, distribution, share } of python.classes) {
      const actual = toFaceClasses(voice, python.labels);
      const withNull = actual.distribution.map((value) => (Number.isNaN(value) ? null : value));
      expectClose(withNull, distribution, 9);
      expect(actual.share).toBeCloseTo(share, 9);
    }
  });

  test('reliability weights', () => {
    for (const { face, weight } of python.face_weights) expect(faceWeight(face)).toBeCloseTo(weight, 9);
    for (const { voice, weight } of python.voice_weights) expect(voiceWeight(voice)).toBeCloseTo(weight, 9);
  });
});

test('a turn keeps the single distributions beside the pooled one', () => {
  const face = {
    labels: ['neutral', 'anger'],
    abstainBelow: 0.5,
    probabilities: [0.6, 0.4],
    frames: 20,
    frontality: 1,
    visible: 1,
  };
  const prediction = { arousal: 0.9, label: 'anger', confidence: 0.9, clipped: 0 };
  const segment = { ...prediction, probabilities: { neutral: 0.05, anger: 0.9, boredom: 0.05 }, start_s: 3, end_s: 6 };
  const turn = fuseTurn(face, segment);
  expect(turn.face).toEqual({ neutral: 0.6, anger: 0.4 });
  expect(turn.voice).toBe(segment.probabilities);
  expect(turn.pooled.anger).toBeGreaterThan(0.5);
  expect(turn.pooled.anger).toBeLessThan(0.9);
  expect(turn.conflict).toBeGreaterThan(0.1);
  expect(turn.labels).toEqual({ face: 'neutral', voice: 'anger', pooled: 'anger' });
});

test('a distribution below the threshold of its model, and a contradiction, have no label', () => {
  const face = { labels: ['neutral', 'anger'], frames: 20, frontality: 1, visible: 1 };
  const voice = { arousal: 0.9, label: null, confidence: 0.6, clipped: 0, start_s: 3, end_s: 6 };
  const segment = { ...voice, probabilities: { neutral: 0.4, anger: 0.6 } };
  const unsure = fuseTurn({ ...face, abstainBelow: 0.7, probabilities: [0.55, 0.45] }, segment);
  expect(unsure.labels).toEqual({ face: null, voice: null, pooled: null });
  const opposite = { ...segment, label: 'anger', probabilities: { neutral: 0.001, anger: 0.999 } };
  const divided = fuseTurn({ ...face, abstainBelow: 0.5, probabilities: [0.999, 0.001] }, opposite);
  expect(divided.labels).toEqual({ face: 'neutral', voice: 'anger', pooled: null });
});

test('a voice that is nearly all bored keeps the label of the face', () => {
  const face = { labels: ['neutral', 'anger'], abstainBelow: 0.5, frames: 20, frontality: 1, visible: 1 };
  const voice = { arousal: 0.1, label: 'boredom', confidence: 1, clipped: 0, start_s: 3, end_s: 6 };
  const bored = { ...voice, probabilities: { neutral: 0, anger: 0.0002, boredom: 0.9998 } };
  const turn = fuseTurn({ ...face, probabilities: [0.999, 0.001] }, bored);
  expect(turn.labels.pooled).toBe('neutral');
  expect(turn.conflict).toBeLessThan(0.001);
  const alone = { ...voice, probabilities: { neutral: 0, anger: 0, boredom: 1 } };
  expect(fuseTurn({ ...face, probabilities: [0.999, 0.001] }, alone)).toMatchObject({
    conflict: null,
    labels: { pooled: 'neutral' },
  });
});

describe('the face during a segment of speech', () => {
  const history = new History(['neutral', 'anger'], 0.5);
  const face = (track_id: number, neutral: number) => ({
    bbox_xyxy: [0, 0, 50, 50] as [number, number, number, number],
    confidence: 1,
    is_face_doubtful: false,
    landmarks_xy: [],
    head_pose_deg: null,
    quality: { size_px: 50, sharpness: 1, frontality: neutral, visible: 1 },
    track_id,
    expression: {
      label: null,
      confidence: 0.5,
      probabilities: { neutral, anger: 1 - neutral },
      valence: null,
      arousal: null,
    },
  });
  const frame = { frame_index: 0, timestamp_s: 0, width: 50, height: 50, latency_ms: 1 };
  history.add({ ...frame, faces: [face(1, 0.2)] }, 1);
  history.add({ ...frame, faces: [face(1, 0.4)] }, 2);
  history.add({ ...frame, faces: [face(1, 0.9), face(2, 0.9)] }, 3);

  test('is the mean over its frames', () => {
    const means = { probabilities: [0.3, 0.7], frames: 2, frontality: 0.3, visible: 1 };
    const expected = { labels: history.labels, abstainBelow: 0.5, ...means };
    expectClose(faceDuring(history, 0.5, 2.5), expected);
  });

  test('leaves out frames without a prediction of their own', () => {
    const held = new History(['neutral', 'anger'], 0.5);
    const predicted = face(1, 0.2);
    held.add({ ...frame, faces: [predicted] }, 1);
    held.add({ ...frame, faces: [{ ...predicted, expression: null, smoothed: face(1, 0.9).expression }] }, 1.1);
    expect(faceDuring(held, 0.5, 2)).toMatchObject({ probabilities: [0.2, 0.8], frames: 1 });
  });

  test('is unknown where one follows another', () => {
    const changing = new History(['neutral', 'anger'], 0.5);
    changing.add({ ...frame, faces: [face(1, 0.2)] }, 1);
    changing.add({ ...frame, faces: [face(2, 0.2)] }, 2);
    expect(faceDuring(changing, 0.5, 2.5)).toBe('several');
  });

  test('is unknown where two are shown at once', () => {
    expect(faceDuring(history, 0.5, 3.5)).toBe('several');
  });

  test('is missing where none is shown', () => {
    expect(faceDuring(history, 4, 5)).toBeNull();
  });
});
