import { describe, expect, test } from 'vitest';
import type { Detection } from '../src/engine/detection';
import { shapeChange, shapeOf } from '../src/engine/follower';
import type { Point } from '../src/engine/geometry';
import { CutDetector } from '../src/engine/sceneCuts';
import { DetectionSchedule } from '../src/engine/schedule';
import { Smoother } from '../src/engine/smoothing';
import { FaceTracker } from '../src/engine/tracking';
import { expectClose, fixture, toPixels } from './fixtures';

test('tracks have the numbers and positions of Python', () => {
  const tracker = new FaceTracker();
  const { width, height } = fixture('tracking');
  const size = { width, height };
  for (const { timestamp_s, cut, faces, appearances, advanced, tracked } of fixture('tracking').steps) {
    if (cut) tracker.cut();
    if (advanced) expectClose(tracker.advance(timestamp_s), advanced, 3);
    else expectClose(tracker.update(timestamp_s, faces as Detection[], appearances, size), tracked, 3);
  }
});

describe('video analysis', () => {
  const python = fixture('video');

  test('expressions are smoothed as in Python', () => {
    const smoother = new Smoother(python.labels, python.abstain_below);
    for (const { number, timestamp_s, weight, expression, smoothed } of python.predictions) {
      expectClose(smoother.add(number, timestamp_s, expression, weight), smoothed);
      expectClose(smoother.last(number), smoothed);
    }
    smoother.retain(new Set([2]));
    expect([1, 2].map((number) => smoother.last(number) === null)).toEqual([true, false]);
    smoother.retain();
    expect(smoother.last(2)).toBeNull();
  });

  test('scene cuts equal those of Python', () => {
    const cuts = new CutDetector();
    expect(python.frames.map((frame: never) => cuts.isCut(toPixels(frame)))).toEqual(python.cuts);
    expect(python.cuts).toContain(true);
  });

  test('shape changes of a turned face equal those of Python', () => {
    const detection = (landmarks: Point[]): Detection => ({ box: [0, 0, 0, 0], landmarks, confidence: 1 });
    const [before, after] = [detection(python.before), detection(python.after)];
    const { shift, rotation_deg } = python;
    expectClose(shapeOf(after), python.shape);
    expectClose(shapeChange(shapeOf(before), shapeOf(after)), { shift, rotation_deg });
  });
});

describe('the detection schedule', () => {
  test('runs on every third frame at 30 frames per second on a fast device', () => {
    const schedule = new DetectionSchedule();
    schedule.slowDown(0.01);
    const due = Array.from({ length: 9 }, (_, frame) => {
      const isDue = schedule.isDue(frame / 30);
      if (isDue) schedule.add(frame / 30);
      return isDue;
    });
    expect(due).toEqual([true, false, false, true, false, false, true, false, false]);
  });

  test('pauses after a slow detection, for half a second at most', () => {
    const schedule = new DetectionSchedule();
    schedule.add(0);
    schedule.slowDown(0.2);
    expect([0.4, 0.51].map((time_s) => schedule.isDue(time_s))).toEqual([false, true]);
    const slow = new DetectionSchedule();
    slow.add(0);
    slow.slowDown(2);
    expect([2.4, 2.6].map((time_s) => slow.isDue(time_s))).toEqual([false, true]);
  });

  test('is due at once after a restart', () => {
    const schedule = new DetectionSchedule();
    schedule.add(5);
    schedule.slowDown(0.2);
    schedule.restart();
    expect(schedule.isDue(5)).toBe(true);
  });
});
