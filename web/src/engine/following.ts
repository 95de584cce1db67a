/** From frames to followed faces: `mien/video/follow.py` in TypeScript. */

import type { Face, HeadPose, Quality } from '../reader';
import { record, recordExpression, type Analyzer } from './analyzer';
import type { Found } from './detection';
import { mean } from './geometry';
import type { Pixels } from './imaging';
import { MOVING_PICTURE } from './landmarks';
import { faceLook, type Look } from './look';
import { Pace } from './pace';
import { CutDetector } from './scenes';
import { readingWeight, Smoother } from './smoothing';
import type { Stopwatch } from './stopwatch';
import { FaceTracker, type Followed } from './tracking';

/** How long a face may be out of sight and keep its number, ... */
const MEMORY_S = 1;
/** ... but no less than so many readings, where they take long. */
const MEMORY_READINGS = 2;
/** A head's pose is fitted anew after so many seconds at the latest, ... */
const POSE_S = 1;
/** ... at once when a landmark has moved this much against the others, in root mean square distances of all, ... */
const POSE_SHIFT = 0.08;
/** ... and when they have turned this much in the picture. */
const POSE_TURN_DEG = 2;

/** A face's landmarks without place and size, x and y in turn: they change when the head turns or tilts. */
type Shape = number[];

/** What a face's last reading told of its head, and still counts in the frames after it. */
interface Held {
  pose: HeadPose | null;
  quality: Quality | null;
  /** The landmarks when the pose was fitted, and when that was. */
  shape: Shape;
  fitted_s: number;
}

/** Takes the frames of one moving picture in turn and tells who is where and what their faces show. */
export class FaceFollower {
  private readonly tracker = new FaceTracker();
  private readonly cuts = new CutDetector();
  private readonly pace = new Pace();
  private readonly smoother: Smoother;
  private held = new Map<number, Held>();
  private last_s = -Infinity;

  constructor(
    private readonly analyzer: Analyzer,
    private readonly stopwatch: Stopwatch,
  ) {
    this.smoother = new Smoother(analyzer.manifest.labels, analyzer.manifest.abstain_below);
  }

  /** What is to be seen in the next frame. Throws a RangeError when the time goes back. */
  async step(image: Pixels, time_s: number): Promise<Face[]> {
    if (!(time_s >= this.last_s)) throw new RangeError(`frame at ${time_s} s after one at ${this.last_s} s: time must not go back`);
    this.last_s = time_s;
    if (this.cuts.isCut(image)) this.beginScene();
    if (!this.pace.isDue(time_s)) return this.tracker.advance(time_s).map((face) => this.carry(face));
    const start = performance.now();
    const faces = await this.read(image, time_s);
    this.pace.note(time_s, (performance.now() - start) / 1000);
    this.tracker.memory_s = Math.max(MEMORY_S, MEMORY_READINGS * this.pace.period_s);
    return faces;
  }

  private beginScene(): void {
    this.tracker.cut();
    this.smoother.forget();
    this.held.clear();
    this.pace.restart();
  }

  /** Searches, follows and reads the faces of a frame. */
  private async read(image: Pixels, time_s: number): Promise<Face[]> {
    const found = await this.analyzer.detect(image, false);
    const followed = await this.stopwatch.time('follow', () => this.follow(image, found, time_s));
    const held = new Map<number, Held>();
    const faces: Face[] = [];
    for (const face of followed) {
      const last = this.holdPose(face, time_s);
      const reading = await this.analyzer.read(image, face, last.pose, MOVING_PICTURE);
      held.set(face.number, { ...last, pose: reading.pose, quality: reading.quality });
      const smoothed = this.smoother.add(face.number, time_s, reading.expression, readingWeight(reading.quality));
      faces.push({ track_id: face.number, ...record(face, reading), smoothed: recordExpression(smoothed) });
    }
    this.smoother.forget(time_s - this.tracker.memory_s);
    this.held = held;
    return faces;
  }

  private follow(image: Pixels, found: Found[], time_s: number): Followed[] {
    const seen = found
      .map((face) => ({ face, look: faceLook(image, face) }))
      .filter((pair): pair is { face: Found; look: Look } => pair.look !== null);
    return this.tracker.update(
      time_s,
      seen.map(({ face }) => face),
      seen.map(({ look }) => look),
    );
  }

  /** What is held of a face; without its pose when that has to be fitted again. */
  private holdPose(face: Followed, time_s: number): Held {
    const shape = shapeOf(face);
    const last = this.held.get(face.number);
    if (last?.pose && time_s - last.fitted_s < POSE_S) {
      const { shift, turn_deg } = change(last.shape, shape);
      if (shift <= POSE_SHIFT && Math.abs(turn_deg) <= POSE_TURN_DEG) return last;
    }
    return { pose: null, quality: null, shape, fitted_s: time_s };
  }

  /** A face between two readings: its head and its steady expression are still those of the last one. */
  private carry(face: Followed): Face {
    const held = this.held.get(face.number);
    const smoothed = this.smoother.last(face.number);
    return {
      track_id: face.number,
      ...record(face, held?.quality ? { pose: held.pose, quality: held.quality } : {}),
      smoothed: smoothed && recordExpression(smoothed),
    };
  }
}

export function shapeOf({ landmarks }: Found): Shape {
  const [x, y] = mean(landmarks);
  const centred = landmarks.flatMap((point) => [point[0] - x, point[1] - y]);
  const spread = Math.sqrt(centred.reduce((sum, value) => sum + value * value, 0) / landmarks.length);
  return centred.map((value) => value / Math.max(spread, 1e-6));
}

/**
 * How far a landmark has moved at most from one shape to another, and their turn in the picture, in clockwise degrees.
 *
 * The turn is the one that lays the first shape on the second best, and is taken out of the moves.
 */
export function change(before: Shape, shape: Shape): { shift: number; turn_deg: number } {
  let [cos, sin] = [0, 0];
  for (let x = 0; x < shape.length; x += 2) {
    cos += before[x] * shape[x] + before[x + 1] * shape[x + 1];
    sin += before[x] * shape[x + 1] - before[x + 1] * shape[x];
  }
  const size = Math.max(Math.hypot(cos, sin), 1e-9);
  [cos, sin] = [cos / size, sin / size];
  let shift = 0;
  for (let x = 0; x < shape.length; x += 2) {
    const across = shape[x] - (cos * before[x] - sin * before[x + 1]);
    const down = shape[x + 1] - (sin * before[x] + cos * before[x + 1]);
    shift = Math.max(shift, Math.hypot(across, down));
  }
  return { shift, turn_deg: (Math.atan2(sin, cos) * 180) / Math.PI };
}
