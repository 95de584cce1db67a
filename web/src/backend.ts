/** The interface of an analysis backend, on this device or on the server, and the records and errors of its results. */

import type { FrameResult } from '@mien/browser';

export type { Expression, Face, HeadPose, Quality } from '@mien/browser';

/** An error with a stable identifier for programs: `code` of an error in the results. */
export class CodedError extends Error {
  constructor(
    message: string,
    readonly code = 'error',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Return the error of an image that the browser cannot decode; its code is that of `mien/errors.py`. */
export function unreadableImage(name: string, cause: unknown): CodedError {
  const message = `${name} cannot be opened as an image by this browser. Use JPEG, PNG or WebP.`;
  return new CodedError(message, 'image_unreadable', { cause });
}

/** The faces of an image or a video frame, in pixels of the image that was passed in. */
export interface Frame extends FrameResult {
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
  /** Confidence below which a face has no label. */
  readonly abstainBelow: number;
  /** Analyze a single image. Takes ownership of the bitmap and closes it. */
  analyzeImage(image: ImageBitmap): Promise<Frame>;
  /** Analyze the next video frame, with tracking and smoothing. Takes ownership of the bitmap and closes it. */
  analyzeFrame(image: ImageBitmap, timestamp_s: number): Promise<Frame>;
  /** Forget all tracks, before a new source. */
  reset(): Promise<void>;
  close(): void;
}

/** Open a backend; `progress` receives 0..1 while models load. Rejects with a message for the user. */
export type OpenBackend = (options: OpenOptions) => Promise<Backend>;

export interface OpenOptions {
  model: string;
  /** Estimate action units and gaze too, which only the server can. */
  actionUnits: boolean;
  progress?: (fraction: number) => void;
  /** Aborts the opening. */
  signal: AbortSignal;
}
