/** Scene cut detection: port of `mien/video/scene_cuts.py`. */

import { unit } from './appearance';
import type { Pixels } from './imaging';

const ROWS = 12;
const COLUMNS = 16;
/** Sampled pixels per cell, in each direction. */
const SAMPLES = 4;
/** Histogram levels of red, green and blue. */
const LEVELS = 4;
/** Standard deviation of the cells, in 0..255, below which a frame counts as blank. */
const MIN_CONTRAST = 6;
const MIN_LAYOUT_CHANGE = 0.4;
const MIN_COLOR_CHANGE = 0.2;

/** Detects cuts: layout and colors change at once. Blank frames are skipped. */
export class CutDetector {
  private previous: { layout: number[]; histogram: number[] } | null = null;

  /** Return whether this frame starts a new scene. Call for every frame in order; false for the first. */
  isCut(image: Pixels): boolean {
    const { cells, histogram } = summarize(image);
    const means = [0, 1, 2].map((channel) => average(cells.map((cell) => cell[channel])));
    const centered = cells.map((cell) => cell.map((value, channel) => value - means[channel]));
    const deviations = [0, 1, 2].map((channel) => Math.sqrt(average(centered.map((cell) => cell[channel] ** 2))));
    if (Math.max(...deviations) < MIN_CONTRAST) return false;
    const previous = this.previous;
    const layout = unit(centered.flat());
    this.previous = { layout, histogram };
    if (!previous) return false;
    const similarity = layout.reduce((sum, value, index) => sum + value * previous.layout[index], 0);
    const overlap = histogram.reduce((sum, value, bin) => sum + Math.min(value, previous.histogram[bin]), 0);
    return 1 - similarity > MIN_LAYOUT_CHANGE && 1 - overlap > MIN_COLOR_CHANGE;
  }
}

/** Return the mean color of every cell and the normalized color histogram. */
function summarize({ width, height, data }: Pixels): { cells: number[][]; histogram: number[] } {
  const cells = Array.from({ length: ROWS * COLUMNS }, () => [0, 0, 0]);
  const histogram = new Array<number>(LEVELS ** 3).fill(0);
  const weight = 1 / (ROWS * COLUMNS * SAMPLES ** 2);
  for (let row = 0; row < ROWS * SAMPLES; row++) {
    const y = Math.floor(((row + 0.5) * height) / (ROWS * SAMPLES));
    for (let column = 0; column < COLUMNS * SAMPLES; column++) {
      const x = Math.floor(((column + 0.5) * width) / (COLUMNS * SAMPLES));
      const cell = cells[Math.floor(row / SAMPLES) * COLUMNS + Math.floor(column / SAMPLES)];
      let bin = 0;
      for (let channel = 0; channel < 3; channel++) {
        const value = data[4 * (y * width + x) + channel];
        cell[channel] += value / SAMPLES ** 2;
        bin = bin * LEVELS + Math.floor(value / (256 / LEVELS));
      }
      histogram[bin] += weight;
    }
  }
  return { cells, histogram };
}

function average(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
