/** Following faces from frame to frame, the same person keeps one number: `mien/faces/tracking.py` in TypeScript. */

import type { Found } from './detection';
import { boxCentre, type Box, type Point } from './geometry';
import { boxSize, unit, type Look } from './look';

/** A face that differs more than this from a track seen just now is another one; in between the limit falls evenly ... */
const LOOK_LIMIT = 0.9;
/** ... to this for a track that will be forgotten in a moment. */
const LOST_LOOK_LIMIT = 0.5;
/** How many face sizes off its expected place a difference in looks of 1 counts for. */
const LOOK_WEIGHT = 2;
/** How far a face may be from where it is expected, in face sizes, and how much this grows with every second unseen. */
const GATE = 0.8;
const GATE_PER_S = 3;
/** What a second unseen costs, in face sizes. */
const LOST_PER_S = 0.5;
/** Time constants: of a face's movement out of sight, of its velocity, of its look. */
const COASTING_S = 1;
const VELOCITY_S = 0.1;
const LOOK_S = 0.5;
/** A face this confident is followed from its first detection. */
const SURE = 0.8;
/** A face with the number of the person, from 1. */
export interface Followed extends Found {
  number: number;
}

interface Track extends Found {
  /** 0 until it is sure to be a face. */
  number: number;
  look: Look;
  seen_s: number;
  velocity: Point;
  detections: number;
}

/** Gives the faces of one moving picture their numbers, from 1 upwards; a number is never given twice. */
export class FaceTracker {
  /** How long a face may be out of sight and keep its number. */
  memory_s = 1;
  private tracks: Track[] = [];
  private lastNumber = 0;
  private time_s = -Infinity;
  private isSceneNew = true;

  /** The faces in sight moved to where they should be now, by number: for frames in which no detector ran. */
  advance(time_s: number): Followed[] {
    return this.tracks
      .filter((track) => track.number > 0 && track.seen_s === this.time_s && time_s - track.seen_s <= this.memory_s)
      .sort((one, other) => one.number - other.number)
      .map((track) => moved(track, time_s));
  }

  /** The detector's faces with their numbers, in the order of these; one that is not yet sure to be a face is left out. */
  update(time_s: number, faces: readonly Found[], looks: readonly Look[]): Followed[] {
    this.time_s = time_s;
    this.tracks = this.tracks.filter((track) => time_s - track.seen_s <= this.memory_s);
    const matched = this.match(faces, looks);
    const followed: Followed[] = [];
    faces.forEach((face, place) => {
      const track = matched.get(place) ?? this.start(face, looks[place]);
      if (matched.has(place)) follow(track, face, looks[place], time_s);
      const isSure = track.detections > 1 || face.confidence >= SURE || this.isSceneNew;
      if (!track.number && isSure) track.number = ++this.lastNumber;
      if (track.number) followed.push({ ...face, number: track.number });
    });
    this.isSceneNew = false;
    return followed.sort((one, other) => one.number - other.number);
  }

  /** A new scene begins: nobody is followed any longer. Numbers go on counting. */
  cut(): void {
    this.tracks = [];
    this.isSceneNew = true;
  }

  private start(face: Found, look: Look): Track {
    const track: Track = { ...face, number: 0, look, seen_s: this.time_s, velocity: [0, 0], detections: 1 };
    this.tracks.push(track);
    return track;
  }

  /** Which track each face belongs to, by the face's place in the list; the cheapest pairs first. */
  private match(faces: readonly Found[], looks: readonly Look[]): Map<number, Track> {
    const pairs = this.tracks.flatMap((track) =>
      faces.map((face, place) => ({ track, place, cost: this.cost(track, face, looks[place]) })),
    );
    const matched = new Map<number, Track>();
    const taken = new Set<Track>();
    for (const { track, place, cost } of pairs.sort((one, other) => compare(one.cost, other.cost))) {
      if (cost === Infinity || taken.has(track) || matched.has(place)) continue;
      taken.add(track);
      matched.set(place, track);
    }
    return matched;
  }

  /** How badly a track fits a face, in face sizes; infinite where it cannot be. */
  private cost(track: Track, face: Found, look: Look): number {
    const unseen_s = this.time_s - track.seen_s;
    const { box } = moved(track, this.time_s);
    const [size, faceSize] = [boxSize(box), boxSize(face.box)];
    const [x, y] = boxCentre(box);
    const [faceX, faceY] = boxCentre(face.box);
    const step = Math.hypot(x - faceX, y - faceY) / Math.sqrt(size * faceSize);
    const offset = Math.hypot(step, Math.log(size / faceSize));
    const own = unit(track.look);
    const difference = 1 - look.reduce((sum, value, place) => sum + value * own[place], 0);
    const limit = LOOK_LIMIT + ((LOST_LOOK_LIMIT - LOOK_LIMIT) * unseen_s) / this.memory_s;
    const strain = (offset / (GATE + GATE_PER_S * unseen_s)) ** 2 + (difference / limit) ** 2;
    return strain <= 1 ? offset + LOOK_WEIGHT * difference + LOST_PER_S * unseen_s : Infinity;
  }
}

function compare(one: number, other: number): number {
  return one < other ? -1 : Number(one > other);
}

/** The face where it should be now: it goes on as it moved, ever slower. */
function moved({ box, landmarks, confidence, number, velocity, seen_s }: Track, time_s: number): Followed {
  const share = -Math.expm1((seen_s - time_s) / COASTING_S) * COASTING_S;
  const [x, y] = [velocity[0] * share, velocity[1] * share];
  return {
    number,
    confidence,
    box: [box[0] + x, box[1] + y, box[2] + x, box[3] + y] satisfies Box,
    landmarks: landmarks.map((point): Point => [point[0] + x, point[1] + y]),
  };
}

/** Takes over what a detection says. */
function follow(track: Track, face: Found, look: Look, time_s: number): void {
  const elapsed_s = time_s - track.seen_s;
  if (elapsed_s > 0) {
    const [before, now] = [boxCentre(track.box), boxCentre(face.box)];
    const gain = Math.max(1 / track.detections, -Math.expm1(-elapsed_s / VELOCITY_S));
    track.velocity = track.velocity.map((old, axis) => old + gain * ((now[axis] - before[axis]) / elapsed_s - old)) as Point;
  }
  const share = -Math.expm1(-elapsed_s / LOOK_S);
  track.look = track.look.map((old, place) => old + share * (look[place] - old));
  const { box, landmarks, confidence } = face;
  Object.assign(track, { box, landmarks, confidence, seen_s: time_s, detections: track.detections + 1 });
}
