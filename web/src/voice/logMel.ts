/** Log-mel spectrogram, the input of the voice model: port of `mien/voice/features.py`. */

import { SAMPLE_RATE_HZ } from './resampler';

/** Samples of an analysis window, 25 ms. */
const WINDOW = 400;
/** Samples between two windows, 10 ms. */
const HOP = 160;
/** Number of mel bands, 0 to 8000 Hz. */
export const MELS = 80;
const FLOOR = 1e-10;
/** Decades of power that are kept below the loudest value. */
const DYNAMIC_RANGE = 8;
const MIN_VARIANCE = 1e-7;
/** Half of the window, and the number of the highest frequency of its spectrum. */
const HALF = WINDOW / 2;

/** A triangular mel filter: the weights of consecutive frequencies. */
interface Filter {
  start: number;
  weights: Float64Array;
}

const HANN = Float64Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));
const COSINES = frequencyTable(Math.cos);
const SINES = frequencyTable(Math.sin);
const FILTERS = melFilters();

/** Return the log-mel spectrogram (80, T) of a speech segment, about -1..1; T is the number of whole 10 ms. */
export function logMel(samples: Float32Array): Float32Array {
  const columns = Math.floor(samples.length / HOP);
  const scaled = standardize(samples);
  const values = new Float32Array(MELS * columns);
  let max = -Infinity;
  for (let column = 0; column < columns; column++) {
    const power = powerSpectrum(scaled, HOP * column - HALF);
    FILTERS.forEach(({ start, weights }, band) => {
      let sum = 0;
      for (let index = 0; index < weights.length; index++) sum += weights[index] * power[start + index];
      const value = Math.log10(Math.max(sum, FLOOR));
      values[columns * band + column] = value;
      max = Math.max(max, value);
    });
  }
  return values.map((value) => (Math.max(value, max - DYNAMIC_RANGE) + 4) / 4);
}

/** Scale samples to mean 0 and variance 1. */
function standardize(samples: Float32Array): Float64Array {
  const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
  const variance = samples.reduce((sum, value) => sum + (value - mean) ** 2, 0) / samples.length;
  const scale = 1 / Math.sqrt(variance + MIN_VARIANCE);
  return Float64Array.from(samples, (value) => (value - mean) * scale);
}

/** Return the power spectrum (201) of the window that starts at an offset, over its even and odd parts. */
function powerSpectrum(samples: Float64Array, offset: number): Float64Array {
  const at = (n: number) => HANN[n] * reflected(samples, offset + n);
  const even = new Float64Array(HALF);
  const odd = new Float64Array(HALF);
  even[0] = at(0);
  for (let n = 1; n < HALF; n++) {
    even[n] = at(n) + at(WINDOW - n);
    odd[n] = at(n) - at(WINDOW - n);
  }
  const power = new Float64Array(HALF + 1);
  for (let k = 0; k <= HALF; k++) {
    let real = k % 2 ? -at(HALF) : at(HALF);
    let imaginary = 0;
    for (let n = 0; n < HALF; n++) {
      real += even[n] * COSINES[HALF * k + n];
      imaginary += odd[n] * SINES[HALF * k + n];
    }
    power[k] = real ** 2 + imaginary ** 2;
  }
  return power;
}

/** Return a sample; beyond both ends the samples are reflected, or 0 where they are shorter than that. */
function reflected(samples: Float64Array, index: number): number {
  if (index >= 0 && index < samples.length) return samples[index];
  if (samples.length <= HALF) return 0;
  return samples[index < 0 ? -index : 2 * (samples.length - 1) - index];
}

/** Return a function of the phase of every frequency (201) and sample (200). */
function frequencyTable(wave: (phase: number) => number): Float64Array {
  return Float64Array.from({ length: (HALF + 1) * HALF }, (_, index) => {
    const k = Math.floor(index / HALF);
    return wave((2 * Math.PI * ((k * (index % HALF)) % WINDOW)) / WINDOW);
  });
}

/** Return the mel filters, each of area 1 in hertz. */
function melFilters(): Filter[] {
  const top = hzToMel(SAMPLE_RATE_HZ / 2);
  const edges_hz = Array.from({ length: MELS + 2 }, (_, index) => melToHz((top * index) / (MELS + 1)));
  return Array.from({ length: MELS }, (_, band) => {
    const [low, center, high] = edges_hz.slice(band, band + 3);
    const weightOf = (hertz: number) =>
      Math.max(0, Math.min((hertz - low) / (center - low), (high - hertz) / (high - center))) * (2 / (high - low));
    const all = Array.from({ length: HALF + 1 }, (_, k) => weightOf((k * SAMPLE_RATE_HZ) / WINDOW));
    const start = all.findIndex((weight) => weight > 0);
    return { start, weights: Float64Array.from(all.slice(start).filter((weight) => weight > 0)) };
  });
}

/** Slaney's mel scale: linear below 1000 Hz, logarithmic above. */
function hzToMel(hertz: number): number {
  return hertz >= 1000 ? 15 + (Math.log(hertz / 1000) * 27) / Math.log(6.4) : (3 * hertz) / 200;
}

function melToHz(mel: number): number {
  return mel >= 15 ? 1000 * Math.exp(((mel - 15) * Math.log(6.4)) / 27) : (200 * mel) / 3;
}
