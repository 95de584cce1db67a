/** Interface of a neural network. `runtime.ts` opens ONNX models; tests provide stubs. */

/** Pixels, or numbers of another kind. */
export type Input = Uint8Array | Float32Array;

export interface Network {
  /** Run one input of shape `dims`; returns the named outputs in order, or all outputs by default. */
  run(input: Input, dims: readonly number[], outputs?: readonly string[]): Promise<Float32Array[]>;
}
