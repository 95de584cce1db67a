/** Interface of a neural network. `runtime.ts` opens ONNX models; tests provide stubs. */

export interface Network {
  /** Run one input of shape `dims`; returns the named outputs in order, or all outputs by default. */
  run(input: Float32Array, dims: readonly number[], outputs?: readonly string[]): Promise<Float32Array[]>;
}
