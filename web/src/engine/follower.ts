/** Face tracking and smoothed expressions over video frames: port of `mien/video/follower.py`. */

import {
  DOUBTFUL_CONFIDENCE,
  type ImageAnalyzer,
  type Prediction,
  rotationCandidates,
  toExpressionRecord,
  toFaceRecord,
} from './analyzer.ts';
import { type Appearance, appearanceDescriptor } from './appearance.ts';
import type { Detection } from './detection.ts';
import { mean } from './geometry.ts';
import type { Pixels } from './imaging.ts';
import { VIDEO_FRAME } from './landmarks.ts';
import type { Expression, Face, HeadPose, Quality } from './results.ts';
import { FaceScanner } from './scanning.ts';
import { CutDetector } from './sceneCuts.ts';
import { DetectionSchedule } from './schedule.ts';
import { predictionWeight, Smoother } from './smoothing.ts';
import type { Stopwatch } from './stopwatch.ts';
import { FaceTracker, type TrackedFace } from './tracking.ts';

/** Maximum time between two pose estimates of a face. */
const MAX_POSE_AGE_S = 1;
/** Maximum landmark shift before the pose is estimated again, relative to the landmarks' root mean square distance. */
const MAX_POSE_SHIFT = 0.08;
/** Maximum in-plane rotation of the landmarks before the pose is estimated again. */
const MAX_POSE_ROTATION_DEG = 2;

/** Number of the first predictions of a track in which rotated meshes are searched for; a single search may fail. */
const FIRST_SEARCHES = 3;
/** Seconds from there to the next search. */
const SEARCH_INTERVAL_S = 3;

/** Landmarks normalized for position and size, as x1, y1, x2, y2, ...; they change when the head turns or tilts. */
type Shape = number[];

/** Pose and quality of a face from its last prediction, reused until the next one. */
interface FaceState {
  pose: HeadPose | null;
  quality: Quality | null;
  isDoubtful: boolean;
  /** True once a mesh has fitted, or nearly in a rotated crop: then a single doubtful detection does not count. */
  isFace: boolean;
  /** Landmarks at the time of the pose estimate. */
  shape: Shape;
  /** Time of the pose estimate. */
  pose_s: number;
  /** Number of searches for a rotated mesh. */
  searches: number;
  /** Time of the last search. */
  searched_s: number;
  /** Time of the last search that found a rotated mesh; null without one. */
  rotated_s: number | null;
}

const NEW_FACE: FaceState = {
  pose: null,
  quality: null,
  isDoubtful: false,
  isFace: false,
  shape: [],
  pose_s: 0,
  searches: 0,
  searched_s: 0,
  rotated_s: null,
};

/** Tracks faces over the frames of one video and smooths their expressions. */
export class FaceFollower {
  private readonly tracker = new FaceTracker();
  private readonly cuts = new CutDetector();
  private readonly schedule = new DetectionSchedule();
  private readonly scanner: FaceScanner;
  private readonly smoother: Smoother;
  private states = new Map<number, FaceState>();
  private last_s = -Infinity;

  constructor(
    private readonly analyzer: ImageAnalyzer,
    private readonly stopwatch: Stopwatch,
    /** Leave time for the frames in between, as the next ones arrive meanwhile. */
    private readonly isLive: boolean,
  ) {
    this.scanner = new FaceScanner((image) => analyzer.detect(image, false));
    this.smoother = new Smoother(analyzer.manifest.labels, analyzer.manifest.abstain_below);
  }

  /** Process the next frame. Throws a RangeError when time goes backwards or is not finite. */
  async step(image: Pixels, time_s: number): Promise<Face[]> {
    if (!Number.isFinite(time_s)) throw new RangeError(`frame at ${time_s} s: time must be finite`);
    if (time_s < this.last_s) {
      throw new RangeError(`frame at ${time_s} s after one at ${this.last_s} s: time must not go backwards`);
    }
    this.last_s = time_s;
    if (this.cuts.isCut(image)) this.startScene();
    const tracked = this.schedule.isDue(time_s) ? null : this.advance(image, time_s);
    if (tracked) return tracked;
    const start = performance.now();
    const faces = await this.analyze(image, time_s);
    this.schedule.add(time_s);
    if (this.isLive) this.schedule.slowDown((performance.now() - start) / 1000);
    return faces;
  }

  private startScene(): void {
    this.tracker.cut();
    this.smoother.retain();
    this.states.clear();
    this.scanner.restart();
    this.schedule.restart();
  }

  /** Return the tracked faces without detection; null when one of them no longer has its appearance. */
  private advance(image: Pixels, time_s: number): Face[] | null {
    const faces = this.tracker.advance(time_s);
    const appearances = faces.map((face) => appearanceDescriptor(image, face)).filter((each) => each !== null);
    if (appearances.length < faces.length || this.tracker.hasChanged(faces, appearances)) return null;
    return faces.map((face) => this.extrapolate(face));
  }

  /** Detect, track and predict the faces of a frame. */
  private async analyze(image: Pixels, time_s: number): Promise<Face[]> {
    const detections = await this.scanner.detect(image, time_s);
    const tracked = await this.stopwatch.time('track', () => this.track(image, detections, time_s));
    const current = tracked.map((face) => this.currentState(face, time_s));
    const isSearch = current.some((state) => state.pose === null && mayBeRotated(state, time_s));
    const unposed = tracked.filter((_, index) => current[index].pose === null);
    const searched = isSearch ? rotationCandidates(unposed) : new Set();
    const predictions = await this.analyzer.predict(
      image,
      tracked.map((face, index) => ({
        face,
        pose: current[index].pose,
        options: { ...VIDEO_FRAME, tryRotations: searched.has(face) },
      })),
    );
    const states = new Map<number, FaceState>();
    const faces = tracked.map((face, index): Face => {
      const { landmarks, pose, quality, isDoubtful, expression } = predictions[index];
      let state = current[index];
      if (isSearch && state.pose === null) state = afterSearch(state, face, predictions[index], time_s);
      const { searches, searched_s } = state;
      // the attributes of a rotated head whose mesh was fitted upright this time are wrong
      const last = isMissed(state, time_s) ? this.states.get(face.number) : undefined;
      state = last
        ? { ...last, searches, searched_s }
        : { ...state, pose, quality, isDoubtful, isFace: state.isFace || pose !== null };
      states.set(face.number, state);
      const smoothed =
        (last && this.smoother.last(face.number)) ??
        this.smoother.add(face.number, time_s, expression, predictionWeight(quality));
      return {
        track_id: face.number,
        ...toFaceRecord({ ...face, landmarks }, predictions[index]),
        smoothed: toExpressionRecord(labeled(smoothed, state)),
      };
    });
    const { numbers } = this.tracker;
    this.smoother.retain(numbers);
    // A face that is missed for a moment keeps its state.
    this.states = new Map([...this.states].filter(([number]) => numbers.has(number)).concat([...states]));
    return faces;
  }

  private track(image: Pixels, detections: Detection[], time_s: number): TrackedFace[] {
    const faces: Detection[] = [];
    const appearances: Appearance[] = [];
    for (const face of detections) {
      const appearance = appearanceDescriptor(image, face);
      if (!appearance) continue;
      faces.push(face);
      appearances.push(appearance);
    }
    return this.tracker.update(time_s, faces, appearances, image);
  }

  /** Return the state of a face, without its pose when the pose must be estimated again. */
  private currentState(face: TrackedFace, time_s: number): FaceState {
    const shape = shapeOf(face);
    const last = this.states.get(face.number);
    if (last?.pose && !mayBeRotated(last, time_s) && time_s - last.pose_s < MAX_POSE_AGE_S) {
      const { shift, rotation_deg } = shapeChange(last.shape, shape);
      if (shift <= MAX_POSE_SHIFT && Math.abs(rotation_deg) <= MAX_POSE_ROTATION_DEG) return last;
    }
    return { ...(last ?? NEW_FACE), pose: null, quality: null, isDoubtful: false, shape, pose_s: time_s };
  }

  /** Return the record of a face in a frame without inference, with the last pose and smoothed expression. */
  private extrapolate(face: TrackedFace): Face {
    const state = this.states.get(face.number);
    const smoothed = this.smoother.last(face.number);
    return {
      track_id: face.number,
      ...toFaceRecord(face, state?.quality ? { ...state, quality: state.quality } : {}),
      smoothed: smoothed && toExpressionRecord(labeled(smoothed, state)),
    };
  }
}

/** Return whether a head was rotated less than a second ago. */
function wasRotated({ rotated_s }: FaceState, time_s: number): boolean {
  return rotated_s !== null && time_s - rotated_s < MAX_POSE_AGE_S;
}

/** Return whether a rotated mesh has to be searched for: at first, every `SEARCH_INTERVAL_S`, always after one. */
function mayBeRotated(state: FaceState, time_s: number): boolean {
  const { searches, searched_s, rotated_s } = state;
  const isDue = searches < FIRST_SEARCHES || time_s - searched_s >= SEARCH_INTERVAL_S;
  return isDue || (rotated_s !== null && rotated_s === searched_s) || wasRotated(state, time_s);
}

/** Return whether the mesh of a rotated head was fitted upright this time. */
function isMissed(state: FaceState, time_s: number): boolean {
  return state.rotated_s !== time_s && wasRotated(state, time_s);
}

/** Return the state of a face after a search for a rotated mesh, which replaces the landmarks where it finds one. */
function afterSearch(state: FaceState, face: TrackedFace, found: Prediction, time_s: number): FaceState {
  const rotated_s = found.landmarks === face.landmarks ? state.rotated_s : time_s;
  const isFace = state.isFace || (face.confidence < DOUBTFUL_CONFIDENCE && !found.isDoubtful);
  return { ...state, searches: state.searches + 1, searched_s: time_s, rotated_s, isFace };
}

/** Return a smoothed expression, without its label as long as the track may not be a face. */
function labeled(smoothed: Expression, state?: FaceState): Expression {
  return state?.isDoubtful && !state.isFace ? { ...smoothed, label: null } : smoothed;
}

/** Normalize landmarks for position and size. */
export function shapeOf({ landmarks }: Detection): Shape {
  const [x, y] = mean(landmarks);
  const centered = landmarks.flatMap((point) => [point[0] - x, point[1] - y]);
  const spread = Math.sqrt(centered.reduce((sum, value) => sum + value * value, 0) / landmarks.length);
  return centered.map((value) => value / Math.max(spread, 1e-6));
}

/**
 * Return the best-fit rotation between two shapes, in clockwise degrees, and the maximum landmark shift after removing it.
 */
export function shapeChange(before: Shape, after: Shape): { shift: number; rotation_deg: number } {
  let [cos, sin] = [0, 0];
  for (let x = 0; x < after.length; x += 2) {
    cos += before[x] * after[x] + before[x + 1] * after[x + 1];
    sin += before[x] * after[x + 1] - before[x + 1] * after[x];
  }
  const size = Math.max(Math.hypot(cos, sin), 1e-9);
  [cos, sin] = [cos / size, sin / size];
  let shift = 0;
  for (let x = 0; x < after.length; x += 2) {
    const dx = after[x] - (cos * before[x] - sin * before[x + 1]);
    const dy = after[x + 1] - (sin * before[x] + cos * before[x + 1]);
    shift = Math.max(shift, Math.hypot(dx, dy));
  }
  return { shift, rotation_deg: (Math.atan2(sin, cos) * 180) / Math.PI };
}
