/** A network as the parts of the engine see it; `runtime.ts` opens real ones, tests make their own. */

export interface Network {
  /** Runs one input of shape `dims` through; the named outputs in their order, all of them unless named. */
  run(input: Float32Array, dims: readonly number[], outputs?: readonly string[]): Promise<Float32Array[]>;
}
