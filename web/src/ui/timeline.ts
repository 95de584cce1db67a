/** Stacked area chart of a face's probabilities over the last 30 seconds, with a text alternative. */

import { cssVariable, openCanvas } from './canvas';
import { create } from './dom';
import { formatPercent } from './format';
import { type History, labelFractions, type Sample, SPAN_S, splitAtGaps } from './history';
import { labelColor } from './palette';

const TEXT_INTERVAL_S = 3;
/** Probability below which a class is not drawn. */
const MIN_DRAWN = 0.004;
/** Extension of the last sample, in pixels, so that runs of one sample are visible. */
const MIN_RUN_PX = 1.5;

/** Hidden for single images. */
export class Timeline {
  readonly root = create('div', 'timeline');
  private readonly canvas = create('canvas');
  private text_s = -Infinity;

  constructor(private readonly number: number) {
    const axis = create('p', '', create('span', '', `${SPAN_S} s ago`), create('span', '', 'now'));
    axis.setAttribute('aria-hidden', 'true');
    this.canvas.setAttribute('role', 'img');
    this.root.append(this.canvas, axis);
    this.root.hidden = true;
  }

  draw(track: readonly Sample[], history: History): void {
    this.root.hidden = track.length === 0;
    const isCollapsed = this.canvas.clientWidth === 0;
    if (isCollapsed) return;
    drawChart(this.canvas, track, history);
    if (history.now_s - this.text_s < TEXT_INTERVAL_S) return;
    this.text_s = history.now_s;
    const parts = labelFractions(track).map(([label, fraction]) => `${label ?? 'not sure'} ${formatPercent(fraction)}`);
    const text = `Face ${this.number}, share of the last ${SPAN_S} seconds: ${parts.join(', ')}`;
    this.canvas.setAttribute('aria-label', text);
  }
}

function drawChart(canvas: HTMLCanvasElement, track: readonly Sample[], history: History): void {
  const context = openCanvas(canvas);
  const { clientWidth: width, clientHeight: height } = canvas;
  const x = (time_s: number) => width * (1 - (history.now_s - time_s) / SPAN_S);
  for (const run of splitAtGaps(track)) {
    for (let label = history.labels.length - 1; label >= 0; label--) {
      drawArea(context, run, label, x, height, labelColor(history.labels[label]));
    }
  }
  context.strokeStyle = cssVariable('--grid');
  context.lineWidth = 1;
  for (const fraction of [1 / 3, 2 / 3]) {
    context.beginPath();
    context.moveTo(Math.round(width * fraction) + 0.5, 0);
    context.lineTo(Math.round(width * fraction) + 0.5, height);
    context.stroke();
  }
}

/** Draw the cumulative area of all labels up to one; drawn from the last label to the first, the areas are stacked. */
function drawArea(
  context: CanvasRenderingContext2D,
  run: readonly Sample[],
  label: number,
  x: (time_s: number) => number,
  height: number,
  color: string,
): void {
  if (run.every(({ probabilities }) => probabilities[label] < MIN_DRAWN)) return;
  const top = ({ probabilities }: Sample) =>
    height * (1 - probabilities.slice(0, label + 1).reduce((sum, value) => sum + value, 0));
  const last = run[run.length - 1];
  context.fillStyle = color;
  context.beginPath();
  context.moveTo(x(run[0].time_s), height);
  for (const sample of run) context.lineTo(x(sample.time_s), top(sample));
  context.lineTo(x(last.time_s) + MIN_RUN_PX, top(last));
  context.lineTo(x(last.time_s) + MIN_RUN_PX, height);
  context.fill();
}
