/** Interfaces of a neural network and of the runtime that opens it. `ort.ts` implements them; tests provide stubs. */

import type { Progress } from './download.ts';

/** Pixels, or numbers of another kind. */
export type Input = Uint8Array | Float32Array;

/** Numbers of shape `dims`. */
export interface Tensor {
  values: Float32Array;
  dims: readonly number[];
}

export interface Network {
  /**
   * Run one input of shape `dims`, with further inputs by name; returns the named outputs in order, or all outputs by
   * default.
   */
  run(
    input: Input,
    dims: readonly number[],
    outputs?: readonly string[],
    others?: Readonly<Record<string, Tensor>>,
  ): Promise<Float32Array[]>;
}

/** A network with the names of its outputs. */
export interface OpenedNetwork extends Network {
  readonly outputs: readonly string[];
}

export interface Runtime {
  /** For display. */
  name: string;
  /** Open an ONNX model. */
  open(model: Uint8Array): Promise<OpenedNetwork>;
  /** Return all outputs of an ONNX model in a trusted runtime; null when `open` uses that one. */
  reference: ((model: Uint8Array, input: Input, dims: readonly number[]) => Promise<Float32Array[]>) | null;
  /** Free all networks. */
  close(): Promise<void>;
}

/** Opens a runtime, with `threads` threads where it can; rejects where the device does not support it. */
export type OpenRuntime = (progress: Progress, threads?: number) => Promise<Runtime>;
