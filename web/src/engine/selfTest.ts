/** Self-test of a network on this device: deterministic inputs and output comparison. */

/** Maximum error relative to an output's largest value. WebGPU on a software adapter stays below a tenth of this. */
const TOLERANCE = 0.01;
/** Count of different numbers in an input. Generating one per pixel would take longer than running the networks. */
const PERIOD = 4096;

/** Return deterministic pseudo-random numbers, in 0..255; they repeat after `PERIOD` of them. */
export function testNumbers(dims: readonly number[]): Float32Array {
  const numbers = new Float32Array(dims.reduce((product, size) => product * size));
  let state = 1;
  for (let index = 0; index < Math.min(PERIOD, numbers.length); index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    numbers[index] = (255 * state) / 2 ** 32;
  }
  for (let filled = PERIOD; filled < numbers.length; filled *= 2) numbers.copyWithin(filled, 0, filled);
  return numbers;
}

/** Return deterministic pseudo-random pixels. */
export function testPixels(dims: readonly number[]): Uint8Array {
  return new Uint8Array(testNumbers(dims));
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
