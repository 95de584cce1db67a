/** Self-test of a network on this device: deterministic inputs and output comparison. */

/** Maximum error relative to an output's largest value. WebGPU on a software adapter stays below a tenth of this. */
const TOLERANCE = 0.01;

/** Return deterministic pseudo-random numbers, in 0..255. */
export function testNumbers(dims: readonly number[]): Float32Array {
  let state = 1;
  return Float32Array.from({ length: dims.reduce((product, size) => product * size) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (255 * state) / 2 ** 32;
  });
}

/** Return deterministic pseudo-random pixels. */
export function testPixels(dims: readonly number[]): Uint8Array {
  return Uint8Array.from(testNumbers(dims));
}

/** Return whether all outputs are finite and close to the expected ones. */
export function outputsAgree(outputs: readonly Float32Array[], expected: readonly Float32Array[]): boolean {
  return expected.every((values, index) => isClose(outputs[index], values));
}

function isClose(output: Float32Array, expected: Float32Array): boolean {
  const limit = TOLERANCE * expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  return (
    output.length === expected.length && output.every((value, index) => Math.abs(value - expected[index]) <= limit)
  );
}
