/**
 * The interface of an analysis backend, on this device or on the server, and the records that it returns.
 *
 * Records have the keys of `mien predict --json` (`Face.to_dict` in `mien/results.py`). Angles are in degrees,
 * coordinates in pixels of the image that was passed in.
 */

export interface HeadPose {
  /** Positive when the subject turns to their own left. */
  yaw: number;
  /** Positive up. */
  pitch: number;
  /** Positive when the head tilts to the subject's own left shoulder. */
  roll: number;
}

export interface Quality {
  size_px: number;
  sharpness: number;
  frontality: number | null;
  visible: number;
}

export interface Expression {
  /** Null when the model abstains. */
  label: string | null;
  confidence: number;
  /** By label, in the model's order; they sum to 1. */
  probabilities: Record<string, number>;
}

export interface Face {
  /** In video: the number of the person, from 1. */
  track_id?: number;
  bbox_xyxy: [number, number, number, number];
  confidence: number;
  landmarks_xy: [number, number][];
  head_pose_deg: HeadPose | null;
  quality: Quality | null;
  /** Prediction for this frame; null in frames without inference. */
  expression: Expression | null;
  /** In video: the temporally smoothed expression. */
  smoothed?: Expression | null;
}

export interface Frame {
  frame_index: number;
  timestamp_s: number;
  width: number;
  height: number;
  faces: Face[];
  /** From submitting the image to receiving its faces, in milliseconds. */
  latency_ms: number;
}

/** Analyzes one image at a time. Callers must wait for the result before the next call. */
export interface Backend {
  readonly mode: 'device' | 'server';
  /** For display: "WebAssembly, 2 threads", "WebGPU", "server example.org". */
  readonly runtime: string;
  readonly model: string;
  readonly labels: readonly string[];
  /** Analyze a single image. Takes ownership of the bitmap and closes it. */
  analyzeImage(image: ImageBitmap): Promise<Frame>;
  /** Analyze the next video frame, with tracking and smoothing. Takes ownership of the bitmap and closes it. */
  analyzeFrame(image: ImageBitmap, timestamp_s: number): Promise<Frame>;
  /** Forget all tracks, before a new source. */
  reset(): Promise<void>;
  close(): void;
}

/** Open a backend; `progress` receives 0..1 while models load. Rejects with a message for the user. */
export type OpenBackend = (options: {
  model: string;
  progress?: (fraction: number) => void;
}) => Promise<Backend>;
