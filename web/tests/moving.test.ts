import { describe, expect, test } from 'vitest';
import { change, shapeOf } from '../src/engine/following';
import { Pace } from '../src/engine/pace';
import { CutDetector } from '../src/engine/scenes';
import { Smoother } from '../src/engine/smoothing';
import { FaceTracker } from '../src/engine/tracking';
import type { Found } from '../src/engine/detection';
import { expectClose, fixture, pixels } from './fixtures';

test('faces get the numbers and the places that Python gives them', () => {
  const tracker = new FaceTracker();
  for (const step of fixture('tracking').steps) {
    if (step.cut) tracker.cut();
    const { timestamp_s, looks, advanced, numbered } = step;
    if (advanced) expectClose(tracker.advance(timestamp_s), advanced, 3);
    else expectClose(tracker.update(timestamp_s, step.faces as Found[], looks), numbered, 3);
  }
});

describe('over time', () => {
  const python = fixture('moving');

  test('expressions are smoothed as in Python', () => {
    const smoother = new Smoother(python.labels, python.abstain_below);
    for (const { number, timestamp_s, weight, read, smoothed } of python.readings) {
      expectClose(smoother.add(number, timestamp_s, read, weight), smoothed);
      expectClose(smoother.last(number), smoothed);
    }
    smoother.forget(1.25);
    expect([smoother.last(1), smoother.last(2)].map((one) => one === null)).toEqual([true, false]);
    smoother.forget();
    expect(smoother.last(2)).toBeNull();
  });

  test('scenes are cut where Python cuts them', () => {
    const cuts = new CutDetector();
    expect(python.frames.map((frame: never) => cuts.isCut(pixels(frame)))).toEqual(python.cuts);
    expect(python.cuts).toContain(true);
  });

  test('a face that turned is as different as in Python', () => {
    const [before, after] = [python.before, python.after].map((landmarks) => ({ box: [0, 0, 0, 0] as never, landmarks, confidence: 1 }));
    expectClose(shapeOf(after), python.shape);
    expectClose(change(shapeOf(before), shapeOf(after)), { shift: python.shift, turn_deg: python.turn_deg });
  });
});

describe('the pace', () => {
  test('is every third frame of 30 a second where reading is quick', () => {
    const pace = new Pace();
    const read = Array.from({ length: 9 }, (_, frame) => {
      const isDue = pace.isDue(frame / 30);
      if (isDue) pace.note(frame / 30, 0.01);
      return isDue;
    });
    expect(read).toEqual([true, false, false, true, false, false, true, false, false]);
  });

  test('leaves time for the frames in between where reading is slow, but half a second at most', () => {
    const pace = new Pace();
    pace.note(0, 0.2);
    expect([0.4, 0.51].map((time_s) => pace.isDue(time_s))).toEqual([false, true]);
    const slow = new Pace();
    slow.note(0, 2);
    expect([2.4, 2.6].map((time_s) => slow.isDue(time_s))).toEqual([false, true]);
  });

  test('starts afresh', () => {
    const pace = new Pace();
    pace.note(5, 0.2);
    pace.restart();
    expect(pace.isDue(5)).toBe(true);
  });
});
