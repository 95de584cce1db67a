/** Where one scene ends and the next begins: `mien/video/scenes.py` in TypeScript. */

import type { Pixels } from './imaging';
import { unit } from './look';

const ROWS = 12;
const COLUMNS = 16;
/** Pixels that are looked at in each cell, down and across. */
const SAMPLES = 4;
/** Steps of red, green and blue in the histogram of colours. */
const LEVELS = 4;
/** A picture whose cells differ less than this (standard deviation of 0..255) shows nothing: it is black or white. */
const FLAT = 6;
const LAYOUT_CHANGE = 0.4;
const COLOUR_CHANGE = 0.2;

/** A cut changes the layout and the colours at once; frames that show nothing are passed over. */
export class CutDetector {
  private before: { layout: number[]; colours: number[] } | null = null;

  /** Whether this frame begins a new scene; to be asked of every frame in turn. The first one begins none. */
  isCut(image: Pixels): boolean {
    const { cells, colours } = summary(image);
    const means = [0, 1, 2].map((band) => average(cells.map((cell) => cell[band])));
    const centred = cells.map((cell) => cell.map((value, band) => value - means[band]));
    const spreads = [0, 1, 2].map((band) => Math.sqrt(average(centred.map((cell) => cell[band] ** 2))));
    if (Math.max(...spreads) < FLAT) return false;
    const [before, layout] = [this.before, unit(centred.flat())];
    this.before = { layout, colours };
    if (!before) return false;
    const likeness = layout.reduce((sum, value, place) => sum + value * before.layout[place], 0);
    const shared = colours.reduce((sum, value, place) => sum + Math.min(value, before.colours[place]), 0);
    return 1 - likeness > LAYOUT_CHANGE && 1 - shared > COLOUR_CHANGE;
  }
}

/** The mean colour of every cell, and the share of the pixels in each bin of colour. */
function summary({ width, height, data }: Pixels): { cells: number[][]; colours: number[] } {
  const cells = Array.from({ length: ROWS * COLUMNS }, () => [0, 0, 0]);
  const colours = new Array<number>(LEVELS ** 3).fill(0);
  const share = 1 / (ROWS * COLUMNS * SAMPLES ** 2);
  for (let row = 0; row < ROWS * SAMPLES; row++) {
    const y = Math.floor(((row + 0.5) * height) / (ROWS * SAMPLES));
    for (let column = 0; column < COLUMNS * SAMPLES; column++) {
      const x = Math.floor(((column + 0.5) * width) / (COLUMNS * SAMPLES));
      const cell = cells[Math.floor(row / SAMPLES) * COLUMNS + Math.floor(column / SAMPLES)];
      const pixel = data.subarray(4 * (y * width + x), 4 * (y * width + x) + 3);
      pixel.forEach((value, band) => (cell[band] += value / SAMPLES ** 2));
      colours[pixel.reduce((bin, value) => bin * LEVELS + Math.floor(value / (256 / LEVELS)), 0)] += share;
    }
  }
  return { cells, colours };
}

function average(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
