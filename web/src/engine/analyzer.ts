/** Face analysis of single images: port of `mien/inference/analyzer.py`. */

import { alignFace } from './alignment.ts';
import { type Detection, detect } from './detection.ts';
import { type ExpressionManifest, predictExpressions } from './expression.ts';
import type { Point } from './geometry.ts';
import type { Pixels } from './imaging.ts';
import { landmarksOf, type MeshNetworks, type MeshOptions, SINGLE_IMAGE, searchMesh } from './landmarks.ts';
import type { Network, OpenedNetwork } from './network.ts';
import { type FaceGeometry, headPose } from './pose.ts';
import { faceQuality, isSharpnessCrop } from './quality.ts';
import type { Expression, Face, HeadPose, Quality } from './results.ts';
import type { Stopwatch } from './stopwatch.ts';

/** Maximum number of faces per image for which rotated mesh fits are tried. */
const MAX_ROTATED_FACES = 16;
/** Detector confidence below which a face without a mesh is doubtful. */
export const DOUBTFUL_CONFIDENCE = 0.8;
/** Presence logit of a rotated crop from which such a face is not doubtful. */
const DOUBTFUL_LOGIT = 4;

export interface Models {
  detector: Network;
  mesh: MeshNetworks;
  geometry: FaceGeometry;
  expression: OpenedNetwork;
  manifest: ExpressionManifest;
}

/** The predictions for one detected face. */
export interface Prediction {
  /** The detector's landmarks, or those of the mesh when the face is rotated. */
  landmarks: Point[];
  pose: HeadPose | null;
  /** Uncertain detection without a mesh, perhaps not a face. */
  isDoubtful: boolean;
  quality: Quality;
  expression: Expression;
}

type Fit = Pick<Prediction, 'pose' | 'isDoubtful' | 'landmarks'>;

/** A face to predict. Its mesh is fitted only when `pose` is null. */
export interface PredictionRequest {
  face: Detection;
  pose: HeadPose | null;
  options: MeshOptions;
}

export class ImageAnalyzer {
  constructor(
    private readonly models: Models,
    private readonly stopwatch: Stopwatch,
    /** Number of faces to keep, the largest. */
    private readonly maxFaces = Infinity,
  ) {}

  get manifest(): ExpressionManifest {
    return this.models.manifest;
  }

  /** Analyze the faces of a single image, largest first. */
  async analyze(image: Pixels): Promise<Face[]> {
    const detections = await this.detect(image, true);
    const candidates = rotationCandidates(detections);
    const requests = detections.map((face) => ({
      face,
      pose: null,
      options: { ...SINGLE_IMAGE, tryRotations: candidates.has(face) },
    }));
    const predictions = await this.predict(image, requests);
    return predictions.map((prediction, index) =>
      toFaceRecord({ ...detections[index], landmarks: prediction.landmarks }, prediction),
    );
  }

  detect(image: Pixels, tryRotations: boolean): Promise<Detection[]> {
    const options = { tryRotations, maxFaces: this.maxFaces };
    return this.stopwatch.time('detect', () => detect(this.models.detector, image, options));
  }

  /** Predict pose, quality and expression of faces; the expressions in one pass. */
  async predict(image: Pixels, requests: readonly PredictionRequest[]): Promise<Prediction[]> {
    const { expression: network, manifest } = this.models;
    const fits: Fit[] = [];
    for (const { face, pose, options } of requests) {
      fits.push(
        pose
          ? { pose, isDoubtful: false, landmarks: face.landmarks }
          : await this.stopwatch.time('mesh and pose', () => this.fitPose(image, face, options)),
      );
    }
    const crops = await this.stopwatch.time('crop', () =>
      fits.map(({ landmarks }) => alignFace(image, landmarks, manifest.input.size, manifest.alignment)),
    );
    const qualities = await this.stopwatch.time('quality', () =>
      fits.map(({ landmarks, pose }, index) =>
        faceQuality(
          image,
          requests[index].face.box,
          landmarks,
          pose,
          isSharpnessCrop(manifest) ? crops[index] : undefined,
        ),
      ),
    );
    const expressions = await this.stopwatch.time('expression', () =>
      predictExpressions(network, manifest, crops, qualities),
    );
    return fits.map((fit, index) => ({
      ...fit,
      quality: qualities[index],
      expression: fit.isDoubtful ? { ...expressions[index], label: null } : expressions[index],
    }));
  }

  private async fitPose(image: Pixels, face: Detection, options: MeshOptions): Promise<Fit> {
    const { mesh: fit, bestLogit } = await searchMesh(this.models.mesh, image, face, options);
    if (!fit) {
      const isDoubtful = bestLogit < DOUBTFUL_LOGIT && face.confidence < DOUBTFUL_CONFIDENCE;
      return { pose: null, isDoubtful, landmarks: face.landmarks };
    }
    const isRotated = options.tryRotations && Math.abs(fit.rotation_deg) > options.maxRotation_deg;
    return {
      pose: headPose(fit.mesh, this.models.geometry),
      isDoubtful: false,
      landmarks: isRotated ? landmarksOf(fit.mesh) : face.landmarks,
    };
  }
}

/** Return the faces for which rotated mesh fits are tried: those with the longest sides. */
export function rotationCandidates(faces: readonly Detection[]): Set<Detection> {
  const side = ({ box: [x1, y1, x2, y2] }: Detection) => Math.max(x2 - x1, y2 - y1);
  return new Set([...faces].sort((one, other) => side(other) - side(one)).slice(0, MAX_ROTATED_FACES));
}

/** Convert a face to the page's record, rounded as by `Face.to_dict` in Python. */
export function toFaceRecord(
  detection: Detection,
  { pose, isDoubtful, quality, expression }: Partial<Prediction>,
): Face {
  return {
    bbox_xyxy: detection.box.map(roundTenths) as Face['bbox_xyxy'],
    confidence: roundTo(detection.confidence, 6),
    is_face_doubtful: isDoubtful ?? false,
    landmarks_xy: detection.landmarks.map(([x, y]) => [roundTenths(x), roundTenths(y)]),
    head_pose_deg: pose
      ? { yaw: roundTenths(pose.yaw), pitch: roundTenths(pose.pitch), roll: roundTenths(pose.roll) }
      : null,
    quality: quality ? toQualityRecord(quality) : null,
    expression: expression ? toExpressionRecord(expression) : null,
  };
}

export function toExpressionRecord(expression: Expression): Expression {
  const { label, confidence, probabilities, valence, arousal, affect } = expression;
  const rounded = Object.entries(probabilities).map(([name, value]) => [name, roundTo(value, 6)]);
  return {
    label,
    confidence: roundTo(confidence, 6),
    probabilities: Object.fromEntries(rounded),
    valence: valence === null ? null : roundTo(valence, 4),
    arousal: arousal === null ? null : roundTo(arousal, 4),
    ...(affect !== undefined && { affect }),
  };
}

function toQualityRecord({ size_px, sharpness, frontality, visible }: Quality): Quality {
  return {
    size_px: roundTo(size_px, 3),
    sharpness: roundTo(sharpness, 3),
    frontality: frontality === null ? null : roundTo(frontality, 3),
    visible: roundTo(visible, 3),
  };
}

function roundTo(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

function roundTenths(value: number): number {
  return roundTo(value, 1);
}
