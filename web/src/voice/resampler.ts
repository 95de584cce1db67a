/** Resampling of a stream of audio to the rate of the voice models. */

/** Sample rate of all audio inside mien. */
export const SAMPLE_RATE_HZ = 16000;
/** Zero crossings of the filter on each side of its center. */
const ZERO_CROSSINGS = 16;
/** Upper end of the kept frequencies relative to the highest possible one, where the rate decreases. */
const ROLLOFF = 0.95;

/** Windowed sinc filter with one kernel per phase between two input samples. Its memory is that of one kernel. */
export class Resampler {
  private readonly up: number;
  private readonly down: number;
  /** Half of the number of input samples under a kernel. */
  private readonly reach: number;
  private readonly kernels: Float32Array[];
  private rest: Float32Array;
  /** Position of the next output after the start of `rest`, in units of 1/`up` input samples. */
  private position: number;

  /** @param rate_hz a whole number of hertz. */
  constructor(rate_hz: number) {
    const divisor = greatestCommonDivisor(rate_hz, SAMPLE_RATE_HZ);
    this.up = SAMPLE_RATE_HZ / divisor;
    this.down = rate_hz / divisor;
    const cutoff = rate_hz > SAMPLE_RATE_HZ ? (ROLLOFF * SAMPLE_RATE_HZ) / rate_hz : 1;
    this.reach = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.kernels = Array.from({ length: this.up }, (_, phase) => kernel(cutoff, this.reach, phase / this.up));
    this.rest = new Float32Array(this.reach);
    this.position = this.up * this.reach;
  }

  /** Add consecutive samples; return the resampled ones that do not depend on later samples. */
  push(samples: Float32Array): Float32Array {
    const { up, down, reach } = this;
    const input = new Float32Array(this.rest.length + samples.length);
    input.set(this.rest);
    input.set(samples, this.rest.length);
    const count = Math.max(0, Math.ceil((up * (input.length - reach) - this.position) / down));
    const output = new Float32Array(count);
    for (let index = 0; index < count; index++) {
      const position = this.position + down * index;
      output[index] = weightedSum(this.kernels[position % up], input, Math.floor(position / up) - reach + 1);
    }
    this.position += down * count;
    const start = Math.max(0, Math.floor(this.position / up) - reach + 1);
    this.rest = input.slice(start);
    this.position -= up * start;
    return output;
  }
}

/** Return the weights of the input samples around a position, `offset` (0..1) after the sample at `reach` - 1. */
function kernel(cutoff: number, reach: number, offset: number): Float32Array {
  const weights = Array.from({ length: 2 * reach }, (_, tap) => {
    const distance = tap - reach + 1 - offset;
    const window = 0.5 + 0.5 * Math.cos((Math.PI * distance) / reach);
    const phase = Math.PI * cutoff * distance;
    return window * (phase === 0 ? 1 : Math.sin(phase) / phase);
  });
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return Float32Array.from(weights, (weight) => weight / sum);
}

function weightedSum(weights: Float32Array, values: Float32Array, first: number): number {
  let sum = 0;
  for (let index = 0; index < weights.length; index++) sum += weights[index] * values[first + index];
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
