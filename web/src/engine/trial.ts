/** Whether a network gives on this device what it should: it is run once, and compared. */

/** Of the largest number of an output; WebGPU on a software adapter is off by less than a tenth of this. */
const TOLERANCE = 0.01;

/** An input of a shape that looks like no picture, the same every time; values from 0 to under `top`. */
export function trialInput(dims: readonly number[], top: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: dims.reduce((one, other) => one * other) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (top * state) / 2 ** 32;
  });
}

/** Whether all that a network gave is finite and what was expected. */
export function agree(found: readonly Float32Array[], expected: readonly Float32Array[]): boolean {
  return expected.every((numbers, place) => closeTo(found[place], numbers));
}

function closeTo(found: Float32Array, expected: Float32Array): boolean {
  const most = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  return found.length === expected.length && found.every((value, place) => Math.abs(value - expected[place]) <= TOLERANCE * most);
}
