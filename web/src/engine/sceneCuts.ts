/** Scene cut detection at any brightness: port of `mien/video/scene_cuts.py`. */

import { unit } from './appearance.ts';
import type { Pixels } from './imaging.ts';

const ROWS = 12;
const COLUMNS = 16;
/** Sampled pixels per cell, in each direction. */
const SAMPLES = 4;
/** Grid of the details, each the mean of 2 x 2 samples. */
const DETAIL_ROWS = 24;
const DETAIL_COLUMNS = 32;
/** Radius of the neighborhood, in details, whose mean is subtracted. */
const BLUR = 2;
/** Share of the mean luminance that is added before the logarithm. */
const DARK_SHARE = 0.25;
/** Maximum movement of the camera between two frames, in details. */
const MAX_DOWN = 6;
const MAX_RIGHT = 8;
/** Minimum standard deviation of the cells in 0..255, as a share of their mean, and relative to noise. */
const MIN_DEVIATION = 0.4;
const MIN_CONTRAST = 0.03;
const MIN_SIGNAL = 2.5;
/** Maximum layout change within a scene: 1 minus the correlation of two layouts. */
const MAX_LAYOUT_CHANGE = 0.35;
/** Minimum correlation of two frames' details within a scene, at the best shift. */
const MIN_DETAIL_MATCH = 0.4;
/** Minimum correlation of the details of a half that stays as it is while the other half of a split screen cuts. */
const MIN_HALF_MATCH = 0.6;
/** Rows and columns of the upper, lower, left and right half, in details. */
const HALVES = [
  [0, 12, 0, 32],
  [12, 24, 0, 32],
  [0, 24, 0, 16],
  [0, 24, 16, 32],
] as const;

/** Detects cuts: layout and details change at once. Blank frames are skipped. */
export class CutDetector {
  private previous: { layout: number[]; details: Float64Array } | null = null;

  /** Return whether this frame starts a new scene. Call for every frame in order; false for the first. */
  isCut(image: Pixels): boolean {
    const { cells, luminance, noise } = summarize(image);
    const means = [0, 1, 2].map((channel) => average(cells.map((cell) => cell[channel])));
    const centered = cells.map((cell) => cell.map((value, channel) => value - means[channel]));
    const deviations = [0, 1, 2].map((channel) => Math.sqrt(average(centered.map((cell) => cell[channel] ** 2))));
    const contrast = MIN_CONTRAST * average(means);
    if (Math.max(...deviations) < Math.max(MIN_DEVIATION, contrast, MIN_SIGNAL * noise)) return false;
    const previous = this.previous;
    const layout = unit(centered.flat());
    const details = detailsOf(luminance);
    this.previous = { layout, details };
    if (!previous) return false;
    const similarity = layout.reduce((sum, value, index) => sum + value * previous.layout[index], 0);
    if (1 - similarity <= MAX_LAYOUT_CHANGE) return false;
    if (HALVES.some((half) => correlation(previous.details, details, half) > MIN_HALF_MATCH)) return false;
    return bestMatch(previous.details, details) < MIN_DETAIL_MATCH;
  }
}

/** Return the mean color of every cell, the luminance of every detail, and the noise of a cell's mean. */
function summarize({ width, height, data }: Pixels) {
  const cells = Array.from({ length: ROWS * COLUMNS }, () => [0, 0, 0]);
  const luminance = new Float64Array(DETAIL_ROWS * DETAIL_COLUMNS);
  let squares = 0;
  for (let row = 0; row < ROWS * SAMPLES; row++) {
    const y = Math.floor(((row + 0.5) * height) / (ROWS * SAMPLES));
    for (let column = 0; column < COLUMNS * SAMPLES; column++) {
      const x = Math.floor(((column + 0.5) * width) / (COLUMNS * SAMPLES));
      const cell = cells[Math.floor(row / SAMPLES) * COLUMNS + Math.floor(column / SAMPLES)];
      const detail = (row >> 1) * DETAIL_COLUMNS + (column >> 1);
      for (let channel = 0; channel < 3; channel++) {
        const value = data[4 * (y * width + x) + channel];
        cell[channel] += value / SAMPLES ** 2;
        luminance[detail] += value / 12;
        squares += value ** 2;
      }
    }
  }
  // The variance within the cells is the mean square less that of the cells' means.
  const meanSquare = squares / (ROWS * COLUMNS * SAMPLES ** 2 * 3);
  const variance = meanSquare - average(cells.map((cell) => average(cell.map((value) => value ** 2))));
  return { cells, luminance, noise: Math.sqrt(Math.max(variance, 0)) / SAMPLES };
}

/** Return the logarithm of the luminance without its local mean. */
function detailsOf(luminance: Float64Array): Float64Array {
  const offset = DARK_SHARE * average(luminance);
  const logs = luminance.map((value) => Math.log(value + offset));
  return logs.map((value, index) => {
    const [row, column] = [Math.floor(index / DETAIL_COLUMNS), index % DETAIL_COLUMNS];
    let sum = 0;
    for (let down = -BLUR; down <= BLUR; down++) {
      const y = Math.min(Math.max(row + down, 0), DETAIL_ROWS - 1);
      for (let right = -BLUR; right <= BLUR; right++) {
        sum += logs[y * DETAIL_COLUMNS + Math.min(Math.max(column + right, 0), DETAIL_COLUMNS - 1)];
      }
    }
    return value - sum / (2 * BLUR + 1) ** 2;
  });
}

/** Return the highest correlation of two frames' details over the shifts of a moving camera. */
function bestMatch(before: Float64Array, after: Float64Array): number {
  let best = -1;
  for (let down = -MAX_DOWN; down <= MAX_DOWN; down++) {
    for (let right = -MAX_RIGHT; right <= MAX_RIGHT; right++) {
      const rows = [Math.max(-down, 0), DETAIL_ROWS - Math.max(down, 0)] as const;
      const columns = [Math.max(-right, 0), DETAIL_COLUMNS - Math.max(right, 0)] as const;
      best = Math.max(best, correlation(before, after, [...rows, ...columns], down, right));
    }
  }
  return best;
}

/** Return the correlation of some rows and columns of the details with those of another frame after a shift. */
function correlation(
  before: Float64Array,
  after: Float64Array,
  [top, bottom, left, end]: readonly [number, number, number, number],
  down = 0,
  right = 0,
): number {
  let [product, first, second] = [0, 0, 0];
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < end; column++) {
      const old = before[row * DETAIL_COLUMNS + column];
      const now = after[(row + down) * DETAIL_COLUMNS + column + right];
      product += old * now;
      first += old ** 2;
      second += now ** 2;
    }
  }
  return product / Math.max(Math.sqrt(first * second), 1e-9);
}

function average(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index];
  return sum / values.length;
}
