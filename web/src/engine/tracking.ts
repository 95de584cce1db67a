/** Face tracking by motion and appearance: port of `mien/faces/tracking.py`. */

import { type Appearance, boxSize, unit } from './appearance';
import type { Detection } from './detection';
import { type Box, boxCenter, type Point } from './geometry';

/** Maximum appearance distance to a track detected just now. */
const MAX_APPEARANCE_DISTANCE = 0.9;
/** Maximum appearance distance to a track about to be forgotten; the limit falls linearly in between. */
const MAX_LOST_APPEARANCE_DISTANCE = 0.5;
/** Cost of an appearance distance of 1, in face sizes. */
const APPEARANCE_WEIGHT = 2;
/** Maximum distance from the predicted position, in face sizes. */
const GATE = 0.8;
/** Growth of the gate per second without detection, in face sizes. */
const GATE_PER_S = 3;
/** Cost per second without detection, in face sizes. */
const LOST_COST_PER_S = 0.5;
/** Time constant with which the motion of a lost face decays. */
const COASTING_S = 1;
/** Time constant of the velocity estimate. */
const VELOCITY_S = 0.1;
/** Time constant of the appearance update. */
const APPEARANCE_S = 0.5;
/** Minimum confidence of a face that is tracked from its first detection. */
const MIN_START_CONFIDENCE = 0.8;

/** A face with its track number, from 1. */
export interface TrackedFace extends Detection {
  number: number;
}

interface Track extends Detection {
  /** 0 until confirmed. */
  number: number;
  appearance: Appearance;
  detected_s: number;
  velocity: Point;
  detections: number;
}

/** Assigns track numbers, from 1, to the faces of one video. Numbers are never reused. */
export class FaceTracker {
  /** Maximum time without detection before a track is forgotten. */
  memory_s = 1;
  private tracks: Track[] = [];
  private lastNumber = 0;
  private time_s = -Infinity;
  private isSceneNew = true;

  /** Extrapolate the tracks of the last detection to a frame without detection, ordered by number. */
  advance(time_s: number): TrackedFace[] {
    return this.tracks
      .filter(
        (track) => track.number > 0 && track.detected_s === this.time_s && time_s - track.detected_s <= this.memory_s,
      )
      .sort((a, b) => a.number - b.number)
      .map((track) => extrapolate(track, time_s));
  }

  /** Assign detections to tracks; returns confirmed faces, ordered by number. */
  update(time_s: number, faces: readonly Detection[], appearances: readonly Appearance[]): TrackedFace[] {
    this.time_s = time_s;
    this.tracks = this.tracks.filter((track) => time_s - track.detected_s <= this.memory_s);
    const matches = this.match(faces, appearances);
    const tracked: TrackedFace[] = [];
    faces.forEach((face, index) => {
      const match = matches.get(index);
      if (match) updateTrack(match, face, appearances[index], time_s);
      const track = match ?? this.start(face, appearances[index]);
      const isConfirmed = track.detections > 1 || face.confidence >= MIN_START_CONFIDENCE || this.isSceneNew;
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

  private start(face: Detection, appearance: Appearance): Track {
    const track = {
      ...face,
      number: 0,
      appearance,
      detected_s: this.time_s,
      velocity: [0, 0] as Point,
      detections: 1,
    };
    this.tracks.push(track);
    return track;
  }

  /** Match faces to tracks greedily by cost; returns tracks by face index. */
  private match(faces: readonly Detection[], appearances: readonly Appearance[]): Map<number, Track> {
    const pairs = this.tracks.flatMap((track) =>
      faces.map((face, index) => ({ track, index, cost: this.cost(track, face, appearances[index]) })),
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
  private cost(track: Track, face: Detection, appearance: Appearance): number {
    const lost_s = this.time_s - track.detected_s;
    const { box } = extrapolate(track, this.time_s);
    const [size, faceSize] = [boxSize(box), boxSize(face.box)];
    const [x, y] = boxCenter(box);
    const [faceX, faceY] = boxCenter(face.box);
    const distance = Math.hypot(x - faceX, y - faceY) / Math.sqrt(size * faceSize);
    const offset = Math.hypot(distance, Math.log(size / faceSize));
    const own = unit(track.appearance);
    const difference = 1 - appearance.reduce((sum, value, index) => sum + value * own[index], 0);
    const limit =
      MAX_APPEARANCE_DISTANCE + ((MAX_LOST_APPEARANCE_DISTANCE - MAX_APPEARANCE_DISTANCE) * lost_s) / this.memory_s;
    const gated = (offset / (GATE + GATE_PER_S * lost_s)) ** 2 + (difference / limit) ** 2;
    return gated <= 1 ? offset + APPEARANCE_WEIGHT * difference + LOST_COST_PER_S * lost_s : Infinity;
  }
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
function updateTrack(track: Track, face: Detection, appearance: Appearance, time_s: number): void {
  const elapsed_s = time_s - track.detected_s;
  if (elapsed_s > 0) {
    const [before, now] = [boxCenter(track.box), boxCenter(face.box)];
    const gain = Math.max(1 / track.detections, -Math.expm1(-elapsed_s / VELOCITY_S));
    track.velocity = track.velocity.map(
      (old, axis) => old + gain * ((now[axis] - before[axis]) / elapsed_s - old),
    ) as Point;
  }
  const weight = -Math.expm1(-elapsed_s / APPEARANCE_S);
  track.appearance = track.appearance.map((old, index) => old + weight * (appearance[index] - old));
  const { box, landmarks, confidence } = face;
  Object.assign(track, { box, landmarks, confidence, detected_s: time_s, detections: track.detections + 1 });
}
