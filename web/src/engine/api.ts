/** Public interfaces of the package. */

import type { OrtModule } from './ort.ts';
import type { FrameResult, ImageResult } from './results.ts';

export interface AnalyzerOptions {
  /** Name of the expression model, by default `expression`. `mobile` is smaller and faster. */
  model?: string;
  /** URL of the folder with the models. */
  models?: string | URL;
  /**
   * Number of threads of the runtime. In browsers by default one, and more only where the page is cross-origin isolated;
   * in Node.js by default that of ONNX Runtime.
   */
  threads?: number;
  /**
   * Number of faces to keep in an image or frame, largest first; by default all. 1 is faster, and its box may differ
   * slightly.
   */
  maxFaces?: number;
  /** Receives the fraction that is loaded, 0..1. */
  onProgress?: (fraction: number) => void;
}

/** Options of an analyzer that runs in the calling thread. */
export interface LocalOptions extends AnalyzerOptions {
  /** The module of ONNX Runtime, for another build than the default one. */
  runtime?: OrtModule;
  /** ONNX Runtime execution provider of `runtime`: by default `wasm`, in Node.js `cpu`. */
  provider?: string;
  /** Loads models and manifests, for example with credentials; by default the global `fetch`. */
  fetch?: typeof fetch;
}

/** Predicts the perceived expressions of the faces in images. Calls may overlap; they run one after the other. */
export interface Analyzer<Image> {
  /** Name of the expression model. */
  readonly model: string;
  /** Classes of the expression model. */
  readonly labels: readonly string[];
  /** Confidence below which a face has no label. */
  readonly abstainBelow: number;
  /** For display: "WebAssembly, 2 threads", "ONNX Runtime, cpu, 2 threads". */
  readonly runtime: string;
  /** Analyze a single image; its faces come largest first. */
  analyze(image: Image): Promise<ImageResult>;
  /** Return a new tracker, one per video or camera. */
  createTracker(options?: TrackerOptions): Tracker<Image>;
  /** Free the memory of the models; the analyzer cannot be used afterwards. */
  close(): Promise<void>;
}

export interface TrackerOptions {
  /**
   * Frames arrive in real time, as from a camera or a playing video: the slower the device, the fewer frames have a
   * detection, so that it keeps up. By default true, in Node.js false: there, results do not depend on its speed.
   */
  live?: boolean;
}

/** Tracks faces over the frames of one video and smooths their expressions. */
export interface Tracker<Image> {
  /**
   * Analyze the next frame. Faces are detected in some frames and tracked in between: there, `expression` is null and
   * `smoothed` holds.
   *
   * Rejects when time goes backwards or is not finite.
   *
   * @param timestamp_s Presentation time of the frame in seconds, by default the current time.
   */
  analyze(image: Image, timestamp_s?: number): Promise<FrameResult>;
  /** Forget all faces and start again, before another video. */
  reset(): Promise<void>;
}
