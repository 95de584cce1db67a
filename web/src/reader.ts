/**
 * What the page asks of whatever reads faces, on this device or on the server.
 *
 * The records have the shape and the keys of `mien predict --json` (`Face.to_dict` in `mien/results.py`): angles in
 * degrees, coordinates in pixels of the picture as it was handed over.
 */

export interface HeadPose {
  /** > 0 when the subject turns to their own left. */
  yaw: number;
  /** > 0 up. */
  pitch: number;
  /** > 0 when the head tilts to the subject's own left shoulder. */
  roll: number;
}

export interface Quality {
  size_px: number;
  sharpness: number;
  frontality: number | null;
  visible: number;
}

export interface Expression {
  /** null when the model cannot tell. */
  label: string | null;
  confidence: number;
  /** By label, in the model's order; they sum to 1. */
  probabilities: Record<string, number>;
}

export interface Face {
  /** In moving pictures: the number of the person, from 1. */
  track_id?: number;
  bbox_xyxy: [number, number, number, number];
  confidence: number;
  landmarks_xy: [number, number][];
  head_pose_deg: HeadPose | null;
  quality: Quality | null;
  /** What this frame alone shows; null in the frames between two readings. */
  expression: Expression | null;
  /** In moving pictures: the expression over the last moments. */
  smoothed?: Expression | null;
}

export interface Frame {
  frame_index: number;
  timestamp_s: number;
  width: number;
  height: number;
  faces: Face[];
  /** From handing the picture over to the answer, in milliseconds. */
  latency_ms: number;
}

/** Reads one picture at a time: a second call before the first has answered is a mistake of the caller. */
export interface Reader {
  readonly where: 'device' | 'server';
  /** For people: "WebAssembly, 2 threads", "WebGPU", "server". */
  readonly backend: string;
  readonly model: string;
  readonly labels: readonly string[];
  /** A picture on its own; takes the bitmap over and closes it. */
  picture(image: ImageBitmap): Promise<Frame>;
  /** The next frame of a moving picture: faces are followed and smoothed; takes the bitmap over and closes it. */
  frame(image: ImageBitmap, timestamp_s: number): Promise<Frame>;
  /** Another source: nobody keeps a number. */
  reset(): Promise<void>;
  close(): void;
}

/** Both modes are opened like this; `progress` is 0..1 while models load. Rejects with a message for people. */
export type OpenReader = (options: {
  model: string;
  progress?: (share: number) => void;
}) => Promise<Reader>;
