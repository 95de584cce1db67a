/** Chart of the last 30 seconds of sound: level with a lane of speech, and the arousal of every segment. */

import type { VoiceSegment } from '../voice/analyzer';
import { cssVariable, openCanvas } from './canvas';
import { create } from './dom';
import { formatArousal } from './format';
import { SPAN_S } from './history';
import type { VoiceHistory } from './voiceHistory';

/** Share of the height for the level; the rest is for the arousal. */
const LEVEL_SHARE = 0.42;
const GAP_PX = 6;
/** Height of the lane that marks speech. */
const LANE_PX = 4;
const MIN_LEVEL_PX = 1;
/** Smallest height of a segment, so that one of arousal 0 is visible. */
const MIN_AROUSAL_PX = 2;
/** Number of segments in the text alternative. */
const MAX_DESCRIBED = 5;
const FONT = '11px system-ui, sans-serif';

type X = (time_s: number) => number;

/** Its time axis is that of the faces' timelines. */
export class VoiceTimeline {
  readonly root = create('div', 'timeline voice-timeline');
  private readonly canvas = create('canvas');

  constructor() {
    const axis = create('p', '', create('span', '', `${SPAN_S} s ago`), create('span', '', 'now'));
    axis.setAttribute('aria-hidden', 'true');
    this.canvas.setAttribute('role', 'img');
    this.root.append(this.canvas, axis);
  }

  draw(history: VoiceHistory, now_s: number): void {
    const context = openCanvas(this.canvas);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const x = (time_s: number) => width * (1 - (now_s - time_s) / SPAN_S);
    const levelHeight = Math.round(height * LEVEL_SHARE);
    drawSpeech(context, history, x, levelHeight);
    drawLevel(context, history, x, levelHeight - LANE_PX);
    drawArousal(context, history.segments, x, levelHeight + GAP_PX, height, width);
    this.canvas.setAttribute('aria-label', describe(history.segments));
  }
}

/** Draw a lane below the level, and a tint behind it, where there is speech. */
function drawSpeech(context: CanvasRenderingContext2D, { segments, speech }: VoiceHistory, x: X, height: number): void {
  const spans = speech ? [...segments, speech] : segments;
  context.fillStyle = cssVariable('--accent');
  for (const { start_s, end_s } of spans) {
    context.globalAlpha = 0.16;
    context.fillRect(x(start_s), 0, x(end_s) - x(start_s), height);
    context.globalAlpha = 1;
    context.fillRect(x(start_s), height - LANE_PX, x(end_s) - x(start_s), LANE_PX);
  }
}

function drawLevel(context: CanvasRenderingContext2D, { peaks }: VoiceHistory, x: X, height: number): void {
  context.fillStyle = cssVariable('--quiet');
  peaks.forEach(({ time_s, value }, index) => {
    const start = x(peaks[index - 1]?.time_s ?? time_s);
    // The square root shows quiet speech too.
    const size = Math.max(MIN_LEVEL_PX, Math.sqrt(value) * height);
    context.fillRect(start, (height - size) / 2, Math.max(0, x(time_s) - start), size);
  });
}

/** Draw a bar per segment, up from the middle for excited and down for calm. */
function drawArousal(
  context: CanvasRenderingContext2D,
  segments: readonly VoiceSegment[],
  x: X,
  top: number,
  bottom: number,
  width: number,
): void {
  const middle = Math.round((top + bottom) / 2);
  for (const { start_s, end_s, arousal } of segments) {
    const size = Math.max(MIN_AROUSAL_PX, (Math.abs(arousal) * (bottom - top)) / 2);
    context.fillStyle = cssVariable(arousal >= 0 ? '--warm' : '--accent');
    context.fillRect(x(start_s), arousal >= 0 ? middle - size : middle, x(end_s) - x(start_s), size);
  }
  context.fillStyle = cssVariable('--quiet');
  context.fillRect(0, middle, width, 1);
  context.font = FONT;
  context.textBaseline = 'top';
  context.fillText('excited', 6, top);
  context.textBaseline = 'bottom';
  context.fillText('calm', 6, bottom - 2);
}

function describe(segments: readonly VoiceSegment[]): string {
  if (segments.length === 0) return `No segment of speech in the last ${SPAN_S} seconds`;
  const parts = segments
    .slice(-MAX_DESCRIBED)
    .map(({ start_s, end_s, arousal }) => `${(end_s - start_s).toFixed(1)} s ${formatArousal(arousal)}`);
  return `Latest segments of speech in the last ${SPAN_S} seconds, oldest first: ${parts.join('; ')}`;
}
