/** Face tracking by motion and appearance: port of `mien/faces/tracking.py`. */

import { type Appearance, boxSize, unit } from './appearance.ts';
import type { Detection } from './detection.ts';
import { type Box, boxCenter, type Point } from './geometry.ts';

/** Maximum appearance distance to a track detected just now. */
const MAX_APPEARANCE_DISTANCE = 0.9;
/** Maximum appearance distance to a track detected `memory_s` ago or before; the limit falls linearly in between. */
const MAX_LOST_APPEARANCE_DISTANCE = 0.5;
/** Maximum appearance distance of a frontal face to the frontal views of its track, however short the time. */
const MAX_FRONTAL_DISTANCE = 0.5;
/** The same for a face that still resembles its track, as after an occlusion; a dissolve exceeds it. */
const MAX_GRADUAL_DISTANCE = 0.54;
/** Appearance distance to the track from which on a change is sudden. */
const MIN_SUDDEN_DISTANCE = 0.3;
/** Maximum distance of a frontal face's nose from the middle of its eyes along their line, in eye distances. */
const MAX_FRONTAL_OFFSET = 0.25;
/** Minimum distance of a frontal face from the border of the image, in widths and heights of its box. */
const BORDER = 0.05;
/** Cost of an appearance distance of 1, in face sizes. */
const APPEARANCE_WEIGHT = 2;
/** Maximum distance from the predicted position, in face sizes. */
const GATE = 0.8;
/** Growth of the gate per second without detection, up to `memory_s`, in face sizes. */
const GATE_PER_S = 3;
/** Cost per second without detection, in face sizes. */
const LOST_COST_PER_S = 0.5;
/** Time constant with which the motion of a lost face decays. */
const COASTING_S = 1;
/** Time constant of the velocity estimate. */
const VELOCITY_S = 0.1;
/** Time constant of the appearance update. */
const APPEARANCE_S = 0.5;
/** Time constant of the frontal appearance; long, so that a dissolve ends the track. */
const FRONTAL_S = 10;
/** Minimum confidence of a face that is tracked from its first detection. */
const MIN_START_CONFIDENCE = 0.8;
/** Maximum wait for the second detection of an uncertain face; where updates are further apart, one is enough. */
const MAX_CONFIRMATION_S = 0.5;
/** Number of updates in a row in which a face may be missing without losing its number. */
const MEMORY_UPDATES = 2;

/** A face with its track number, from 1. */
export interface TrackedFace extends Detection {
  number: number;
}

interface Track extends Detection {
  /** 0 until confirmed. */
  number: number;
  appearance: Appearance;
  /** Average of the frontal views; null without one. */
  frontal: Appearance | null;
  detected_s: number;
  velocity: Point;
  detections: number;
  /** Updates without a detection since the last one. */
  missed: number;
}

/** A detection as the tracker compares it. */
interface View {
  face: Detection;
  appearance: Appearance;
  isFrontal: boolean;
}

interface Size {
  width: number;
  height: number;
}

/** Assigns track numbers, from 1, to the faces of one video. Numbers are never reused. */
export class FaceTracker {
  /** Minimum time without detection before a track is forgotten. */
  private readonly memory_s = 1;
  private tracks: Track[] = [];
  private lastNumber = 0;
  private time_s = -Infinity;
  private isSceneNew = true;

  /** Numbers that a face of the next update may continue. */
  get numbers(): Set<number> {
    return new Set(this.tracks.map((track) => track.number).filter((number) => number > 0));
  }

  /** Extrapolate the tracks of the last detection to a frame without detection, ordered by number. */
  advance(time_s: number): TrackedFace[] {
    return this.tracks
      .filter((track) => track.number > 0 && track.detected_s === this.time_s)
      .sort((a, b) => a.number - b.number)
      .map((track) => extrapolate(track, time_s));
  }

  /** Return whether an extrapolated face no longer resembles its track, so that detection is due. */
  hasChanged(faces: readonly TrackedFace[], appearances: readonly Appearance[]): boolean {
    return faces.some(({ number }, index) => {
      const track = this.tracks.find((each) => each.number === number);
      return (
        track !== undefined && appearanceDistance(track.appearance, appearances[index]) > MAX_LOST_APPEARANCE_DISTANCE
      );
    });
  }

  /** Assign the detections of an image of this size to tracks; returns confirmed faces, ordered by number. */
  update(time_s: number, faces: readonly Detection[], appearances: readonly Appearance[], size: Size): TrackedFace[] {
    const isLate = time_s - this.time_s >= MAX_CONFIRMATION_S;
    this.time_s = time_s;
    this.tracks = this.tracks.filter(
      (track) => time_s - track.detected_s <= this.memory_s || track.missed <= MEMORY_UPDATES,
    );
    for (const track of this.tracks) track.missed++;
    const views = faces.map((face, index) => ({
      face,
      appearance: appearances[index],
      isFrontal: isFrontal(face, size),
    }));
    const matches = this.match(views);
    const tracked: TrackedFace[] = [];
    views.forEach((view, index) => {
      const { face } = view;
      const match = matches.get(index);
      if (match) updateTrack(match, view, time_s);
      const track = match ?? this.start(view);
      const isCertain = face.confidence >= MIN_START_CONFIDENCE || this.isSceneNew || isLate;
      const isConfirmed = isCertain || track.detections > 1;
      if (!track.number && isConfirmed) track.number = ++this.lastNumber;
      if (track.number) tracked.push({ ...face, number: track.number });
    });
    this.isSceneNew = false;
    return tracked.sort((a, b) => a.number - b.number);
  }

  /** Forget all tracks at a scene cut. Numbering continues. */
  cut(): void {
    this.tracks = [];
    this.isSceneNew = true;
  }

  private start({ face, appearance, isFrontal }: View): Track {
    const track = {
      ...face,
      number: 0,
      appearance,
      frontal: isFrontal ? appearance : null,
      detected_s: this.time_s,
      velocity: [0, 0] as Point,
      detections: 1,
      missed: 0,
    };
    this.tracks.push(track);
    return track;
  }

  /** Match faces to tracks greedily by cost; returns tracks by face index. */
  private match(views: readonly View[]): Map<number, Track> {
    const pairs = this.tracks.flatMap((track) =>
      views.map((view, index) => ({ track, index, cost: this.cost(track, view) })),
    );
    const matches = new Map<number, Track>();
    const used = new Set<Track>();
    for (const { track, index, cost } of pairs.sort((a, b) => compare(a.cost, b.cost))) {
      if (cost === Infinity || used.has(track) || matches.has(index)) continue;
      used.add(track);
      matches.set(index, track);
    }
    return matches;
  }

  /** Return the cost of assigning a face to a track, in face sizes; infinite outside the gate. */
  private cost(track: Track, { face, appearance, isFrontal }: View): number {
    const difference = appearanceDistance(track.appearance, appearance);
    const frontalLimit = difference > MIN_SUDDEN_DISTANCE ? MAX_FRONTAL_DISTANCE : MAX_GRADUAL_DISTANCE;
    const isOther = track.frontal && appearanceDistance(track.frontal, appearance) > frontalLimit;
    if (isOther && isFrontal) return Infinity;
    const lost_s = this.time_s - track.detected_s;
    const remembered_s = Math.min(lost_s, this.memory_s);
    const { box } = extrapolate(track, this.time_s);
    const [size, faceSize] = [boxSize(box), boxSize(face.box)];
    const [x, y] = boxCenter(box);
    const [faceX, faceY] = boxCenter(face.box);
    const distance = Math.hypot(x - faceX, y - faceY) / Math.sqrt(size * faceSize);
    const offset = Math.hypot(distance, Math.log(size / faceSize));
    const share = remembered_s / this.memory_s;
    const limit = MAX_APPEARANCE_DISTANCE + (MAX_LOST_APPEARANCE_DISTANCE - MAX_APPEARANCE_DISTANCE) * share;
    const gated = (offset / (GATE + GATE_PER_S * remembered_s)) ** 2 + (difference / limit) ** 2;
    return gated <= 1 ? offset + APPEARANCE_WEIGHT * difference + LOST_COST_PER_S * lost_s : Infinity;
  }
}

/** Return 1 minus the cosine of a track's appearance and that of a face, a unit vector. */
function appearanceDistance(track: Appearance, face: Appearance): number {
  const own = unit(track);
  return 1 - face.reduce((sum, value, index) => sum + value * own[index], 0);
}

/** Return whether the nose is in the middle between the eyes, along their line, and the face is in the image. */
function isFrontal({ box, landmarks: [right, left, nose] }: Detection, { width, height }: Size): boolean {
  const marginX = BORDER * (box[2] - box[0]);
  const marginY = BORDER * (box[3] - box[1]);
  if (box[0] < marginX || box[1] < marginY || box[2] > width - marginX || box[3] > height - marginY) return false;
  const [x, y] = [left[0] - right[0], left[1] - right[1]];
  const offset = (nose[0] - (right[0] + left[0]) / 2) * x + (nose[1] - (right[1] + left[1]) / 2) * y;
  return Math.abs(offset) <= MAX_FRONTAL_OFFSET * (x * x + y * y);
}

/** Compare numbers that may both be infinite. */
function compare(a: number, b: number): number {
  return a < b ? -1 : Number(a > b);
}

/** Extrapolate a track to a time, with decaying velocity. */
function extrapolate(track: Track, time_s: number): TrackedFace {
  const { box, landmarks, confidence, number, velocity, detected_s } = track;
  const factor = -Math.expm1((detected_s - time_s) / COASTING_S) * COASTING_S;
  const [x, y] = [velocity[0] * factor, velocity[1] * factor];
  return {
    number,
    confidence,
    box: [box[0] + x, box[1] + y, box[2] + x, box[3] + y] satisfies Box,
    landmarks: landmarks.map((point): Point => [point[0] + x, point[1] + y]),
  };
}

/** Update a track with its new detection. */
function updateTrack(track: Track, { face, appearance, isFrontal }: View, time_s: number): void {
  const elapsed_s = time_s - track.detected_s;
  if (elapsed_s > 0) {
    const [before, now] = [boxCenter(track.box), boxCenter(face.box)];
    const gain = Math.max(1 / track.detections, -Math.expm1(-elapsed_s / VELOCITY_S));
    track.velocity = track.velocity.map(
      (old, axis) => old + gain * ((now[axis] - before[axis]) / elapsed_s - old),
    ) as Point;
  }
  track.appearance = blend(track.appearance, appearance, -Math.expm1(-elapsed_s / APPEARANCE_S));
  if (isFrontal) {
    track.frontal = blend(track.frontal ?? appearance, appearance, -Math.expm1(-elapsed_s / FRONTAL_S));
  }
  const { box, landmarks, confidence } = face;
  Object.assign(track, { box, landmarks, confidence, detected_s: time_s, detections: track.detections + 1, missed: 0 });
}

function blend(before: Appearance, after: Appearance, weight: number): Appearance {
  return before.map((old, index) => old + weight * (after[index] - old));
}
