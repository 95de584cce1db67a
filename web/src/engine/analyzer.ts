/** From pictures to faces: `mien/inference/analyzer.py` in TypeScript. */

import type { Expression, Face, HeadPose, Quality } from '../reader';
import { detect, type Found } from './detection';
import { readExpression, type ExpressionManifest } from './expression';
import type { Point } from './geometry';
import type { Pixels } from './imaging';
import { fitMesh, landmarksOf, SINGLE_PICTURE, type Care } from './landmarks';
import type { Network } from './network';
import { headPose, type FaceGeometry } from './pose';
import { faceQuality } from './quality';
import type { Stopwatch } from './stopwatch';

/** A face whose mesh is turned more than this against its landmarks is cut by the mesh: the landmarks lie. */
const STRAIGHTEN_DEG = 15;
/** So many faces of a picture, the largest, are tried turned. */
const MOST_TURNED = 16;

/** All that reads faces, loaded. */
export interface Models {
  detector: Network;
  landmarks: Network;
  geometry: FaceGeometry;
  expression: Network;
  manifest: ExpressionManifest;
}

/** A face and what was read in it. */
export interface Reading {
  /** The detector's, or those of the mesh where the face lies otherwise than they say. */
  landmarks: Point[];
  pose: HeadPose | null;
  quality: Quality;
  expression: Expression;
}

export class Analyzer {
  constructor(
    private readonly models: Models,
    private readonly stopwatch: Stopwatch,
  ) {}

  get manifest(): ExpressionManifest {
    return this.models.manifest;
  }

  /** The faces of a picture on its own, largest first. */
  async analyze(image: Pixels): Promise<Face[]> {
    const faces: Face[] = [];
    for (const [place, found] of (await this.detect(image, true)).entries()) {
      const reading = await this.read(image, found, null, { ...SINGLE_PICTURE, turned: place < MOST_TURNED });
      faces.push(record({ ...found, landmarks: reading.landmarks }, reading));
    }
    return faces;
  }

  detect(image: Pixels, turned: boolean): Promise<Found[]> {
    return this.stopwatch.time('detect', () => detect(this.models.detector, image, turned));
  }

  /** Reads one face; its pose is fitted unless it is known. */
  async read(image: Pixels, face: Found, known: HeadPose | null, care: Care): Promise<Reading> {
    const { expression, manifest } = this.models;
    const { pose, landmarks } = known
      ? { pose: known, landmarks: face.landmarks }
      : await this.stopwatch.time('mesh and pose', () => this.fitPose(image, face, care));
    const quality = await this.stopwatch.time('quality', () => faceQuality(image, face.box, landmarks, pose));
    const seen = await this.stopwatch.time('expression', () => readExpression(expression, manifest, image, landmarks, quality));
    return { landmarks, pose, quality, expression: seen };
  }

  private async fitPose(image: Pixels, face: Found, care: Care): Promise<Pick<Reading, 'pose' | 'landmarks'>> {
    const fitted = await fitMesh(this.models.landmarks, image, face, care);
    if (!fitted) return { pose: null, landmarks: face.landmarks };
    const is_turned = care.turned && Math.abs(fitted.turn_deg) > STRAIGHTEN_DEG;
    return {
      pose: headPose(fitted.mesh, this.models.geometry),
      landmarks: is_turned ? landmarksOf(fitted.mesh) : face.landmarks,
    };
  }
}

/** A face as the page gets it, with as many digits as `Face.to_dict` gives in Python. */
export function record(found: Found, { pose, quality, expression }: Partial<Reading>): Face {
  return {
    bbox_xyxy: found.box.map(tenths) as Face['bbox_xyxy'],
    confidence: rounded(found.confidence, 6),
    landmarks_xy: found.landmarks.map(([x, y]) => [tenths(x), tenths(y)]),
    head_pose_deg: pose ? { yaw: tenths(pose.yaw), pitch: tenths(pose.pitch), roll: tenths(pose.roll) } : null,
    quality: quality ? recordQuality(quality) : null,
    expression: expression ? recordExpression(expression) : null,
  };
}

export function recordExpression({ label, confidence, probabilities }: Expression): Expression {
  const shown = Object.entries(probabilities).map(([name, value]) => [name, rounded(value, 6)]);
  return { label, confidence: rounded(confidence, 6), probabilities: Object.fromEntries(shown) };
}

function recordQuality({ size_px, sharpness, frontality, visible }: Quality): Quality {
  return {
    size_px: rounded(size_px, 3),
    sharpness: rounded(sharpness, 3),
    frontality: frontality === null ? null : rounded(frontality, 3),
    visible: rounded(visible, 3),
  };
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

function tenths(value: number): number {
  return rounded(value, 1);
}
