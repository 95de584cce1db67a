/** The last 30 seconds of a face: its probabilities, stacked, with the same told in words. */

import { openCanvas, styleColour } from './canvas';
import { make } from './elements';
import { type History, type Sample, SPAN_S, labelShares, stretches } from './history';
import { labelColour } from './palette';
import { percent } from './words';

const WORDS_EVERY_S = 3;

/** Hidden until there is a moving picture. */
export class Timeline {
  readonly root = make('div', 'timeline');
  private readonly canvas = make('canvas');
  private worded_s = -Infinity;

  constructor(private readonly number: number) {
    const axis = make('p', '', make('span', '', `${SPAN_S} s ago`), make('span', '', 'now'));
    axis.setAttribute('aria-hidden', 'true');
    this.canvas.setAttribute('role', 'img');
    this.root.append(this.canvas, axis);
    this.root.hidden = true;
  }

  draw(track: readonly Sample[], history: History): void {
    this.root.hidden = track.length === 0;
    if (this.canvas.clientWidth === 0) return; // folded
    drawLane(this.canvas, track, history);
    if (history.now_s - this.worded_s < WORDS_EVERY_S) return;
    this.worded_s = history.now_s;
    const parts = labelShares(track).map(([label, share]) => `${label ?? 'not sure'} ${percent(share)}`);
    this.canvas.setAttribute('aria-label', `Face ${this.number}, share of the last ${SPAN_S} seconds: ${parts.join(', ')}`);
  }
}

function drawLane(canvas: HTMLCanvasElement, track: readonly Sample[], history: History): void {
  const context = openCanvas(canvas);
  const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
  const x = (time_s: number) => wide * (1 - (history.now_s - time_s) / SPAN_S);
  for (const run of stretches(track)) {
    for (let label = history.labels.length - 1; label >= 0; label--) {
      drawArea(context, run, label, x, high, labelColour(history.labels[label]));
    }
  }
  context.strokeStyle = styleColour('--grid');
  context.lineWidth = 1;
  for (const at of [1 / 3, 2 / 3]) {
    context.beginPath();
    context.moveTo(Math.round(wide * at) + 0.5, 0);
    context.lineTo(Math.round(wide * at) + 0.5, high);
    context.stroke();
  }
}

/** All labels up to one, as an area from the ground: painted from the last label to the first they are stacked. */
function drawArea(
  context: CanvasRenderingContext2D,
  run: readonly Sample[],
  label: number,
  x: (time_s: number) => number,
  high: number,
  colour: string,
): void {
  if (run.every((sample) => sample.shares[label] < 0.004)) return;
  const top = (sample: Sample) => high * (1 - sample.shares.slice(0, label + 1).reduce((sum, share) => sum + share, 0));
  const last = run[run.length - 1];
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x(run[0].time_s), high);
  for (const sample of run) context.lineTo(x(sample.time_s), top(sample));
  context.lineTo(x(last.time_s) + 1.5, top(last));
  context.lineTo(x(last.time_s) + 1.5, high);
  context.fill();
}
