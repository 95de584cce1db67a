/** Overlay on the image: face boxes, head axes and labels. */

import type { Expression, Face, Frame } from '../backend';
import { type Box, type Context, openCanvas, roundedPath } from './canvas';
import { displayedExpression, formatLabel, formatPercent } from './format';
import { headAxes } from './headAxes';
import { placeLabel, type Size } from './labelPlacement';
import { labelColor, OVERLAY_COLORS, tint, withOpacity } from './palette';

const { ink: INK, quiet: QUIET } = OVERLAY_COLORS;
const CARD = withOpacity(OVERLAY_COLORS.card, 0.87);
const OUTLINE = 'rgb(0 0 0 / 35%)';
const BAR_TRACK = 'rgb(255 255 255 / 14%)';
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** Fraction of white in label text. */
const TEXT_TINT = 0.4;
/** Opacity of the faces that are not highlighted. */
const DIMMED = 0.3;
/** Maximum number of faces with a large label. */
const MAX_LARGE_LABELS = 3;
/** Minimum displayed image width for labels with bars. */
const MIN_BARS_PX = 560;
/** Number of bars in a label. */
const BARS = 3;
/** Width of the class names in a label with bars. */
const NAME_PX = 70;
/** Minimum distance between label and face for a leader line. */
const MIN_LEADER_PX = 24;
/** Length of a head axis relative to the shorter side of the face's box. */
const AXIS_LENGTH = 0.17;
const MIN_AXIS_PX = 5;

type LabelStyle = 'bars' | 'stacked' | 'tag';
const SIZES: Record<LabelStyle, Size> = {
  bars: { width: 192, height: 38 + 20 * BARS },
  stacked: { width: 156, height: 40 },
  tag: { width: 84, height: 18 },
};
const BADGE: Size = { width: 20, height: 18 };

export interface OverlayOptions {
  /** Flip the overlay horizontally; text is not flipped. */
  mirrored: boolean;
  /** Number of the face to highlight, or null. */
  highlighted: number | null;
}

/** Return the number of a face: its track, or its position in the image's list of faces. */
export function faceNumber(face: Face, index: number): number {
  return face.track_id ?? index + 1;
}

/** Draws over an image that is scaled to fit and centered. */
export class Overlay {
  private choices = new Map<number, number>();

  constructor(private readonly canvas: HTMLCanvasElement) {}

  clear(): void {
    openCanvas(this.canvas);
    this.choices.clear();
  }

  draw(frame: Frame, options: OverlayOptions): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.choices = drawOverlay(openCanvas(this.canvas), { width, height }, frame, options, this.choices);
  }
}

/**
 * Draw the faces of a frame that fills an area of this size.
 *
 * @param lastChoices position of each face's label in the previous frame, by number; keeps labels from jumping.
 * @returns the positions in this frame.
 */
export function drawOverlay(
  context: Context,
  size: Size,
  frame: Frame,
  { mirrored, highlighted }: OverlayOptions,
  lastChoices: ReadonlyMap<number, number> = new Map(),
): Map<number, number> {
  const bounds = imageBounds(frame, size);
  const boxes = frame.faces.map((face) => displayedBox(face, frame, bounds, mirrored));
  const style = labelStyle(frame.faces.length, bounds);
  const occupied = [...boxes];
  const choices = new Map<number, number>();
  frame.faces.forEach((face, index) => {
    const number = faceNumber(face, index);
    const expression = displayedExpression(face);
    const isDimmed = highlighted !== null && highlighted !== number;
    context.globalAlpha = isDimmed ? DIMMED : 1;
    drawFaceBox(context, boxes[index], expressionColor(expression));
    drawAxes(context, face, boxes[index], mirrored);
    const lastChoice = lastChoices.get(number) ?? -1;
    const { box, choice } = placeFaceLabel(expression, style, boxes[index], bounds, occupied, lastChoice);
    occupied.push(box);
    if (choice !== null) choices.set(number, choice);
    if (isDimmed) return;
    if (choice === null) drawBadge(context, box, number);
    else drawLabel(context, box, boxes[index], number, expression, style);
  });
  context.globalAlpha = 1;
  return choices;
}

/** Return the box of a face's label; without room for it, the box of its badge and a null choice. */
function placeFaceLabel(
  expression: Expression | null,
  style: LabelStyle,
  face: Box,
  bounds: Box,
  occupied: readonly Box[],
  lastChoice: number,
): { box: Box; choice: number | null } {
  const size = SIZES[expression ? style : 'tag'];
  const label = placeLabel(size, face, bounds, occupied, style !== 'tag', lastChoice);
  if (label) return label;
  const badge = placeLabel(BADGE, face, bounds, occupied, false, 0);
  return { box: badge?.box ?? face, choice: null };
}

/** Return the area of the image within the canvas. */
function imageBounds(frame: Frame, size: Size): Box {
  const scale = Math.min(size.width / frame.width, size.height / frame.height);
  const width = frame.width * scale;
  const height = frame.height * scale;
  return { x: (size.width - width) / 2, y: (size.height - height) / 2, width, height };
}

function displayedBox(face: Face, frame: Frame, bounds: Box, mirrored: boolean): Box {
  const scale = bounds.width / frame.width;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const x = mirrored ? frame.width - right : left;
  return {
    x: bounds.x + x * scale,
    y: bounds.y + top * scale,
    width: (right - left) * scale,
    height: (bottom - top) * scale,
  };
}

function expressionColor(expression: Expression | null): string {
  return labelColor(expression?.label ?? null);
}

/** Draw a hairline box with strong rounded corners; a dark outline keeps them visible on bright images. */
function drawFaceBox(context: Context, box: Box, color: string): void {
  const side = Math.min(box.width, box.height);
  const lineWidth = Math.max(2, Math.min(4, side / 24));
  const arm = side / 5;
  const radius = arm / 2;
  context.lineCap = 'round';
  context.strokeStyle = withOpacity(color, 0.44);
  context.lineWidth = 1;
  roundedPath(context, box, radius);
  context.stroke();
  context.strokeStyle = OUTLINE;
  context.lineWidth = lineWidth + 2;
  drawCorners(context, box, arm, radius);
  context.strokeStyle = color;
  context.lineWidth = lineWidth;
  drawCorners(context, box, arm, radius);
}

function drawCorners(context: Context, box: Box, arm: number, radius: number): void {
  for (const [x, y, right, down] of [
    [box.x, box.y, 1, 1],
    [box.x + box.width, box.y, -1, 1],
    [box.x + box.width, box.y + box.height, -1, -1],
    [box.x, box.y + box.height, 1, -1],
  ]) {
    context.beginPath();
    context.moveTo(x, y + down * arm);
    context.arcTo(x, y, x + right * arm, y, radius);
    context.lineTo(x + right * arm, y);
    context.stroke();
  }
}

function drawAxes(context: Context, face: Face, box: Box, mirrored: boolean): void {
  const length = AXIS_LENGTH * Math.min(box.width, box.height);
  if (!face.head_pose_deg || length < MIN_AXIS_PX) return;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const [noseX, noseY] = face.landmarks_xy[2];
  const offset = (noseX - left) / (right - left);
  const x = box.x + box.width * (mirrored ? 1 - offset : offset);
  const y = box.y + (box.height * (noseY - top)) / (bottom - top);
  context.lineWidth = Math.max(1.5, length / 9);
  for (const axis of headAxes(face.head_pose_deg)) {
    context.strokeStyle = axis.color;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + (mirrored ? -axis.x : axis.x) * length, y + axis.y * length);
    context.stroke();
  }
  context.fillStyle = INK;
  context.beginPath();
  context.arc(x, y, context.lineWidth * 0.8, 0, 2 * Math.PI);
  context.fill();
}

/** Choose a smaller label style for many faces and for small images. */
function labelStyle(faces: number, bounds: Box): LabelStyle {
  if (bounds.width >= MIN_BARS_PX) return faces <= MAX_LARGE_LABELS ? 'bars' : 'stacked';
  return faces <= MAX_LARGE_LABELS ? 'stacked' : 'tag';
}

function drawLabel(
  context: Context,
  box: Box,
  face: Box,
  number: number,
  expression: Expression | null,
  style: LabelStyle,
): void {
  drawLeader(context, face, box, expressionColor(expression));
  context.fillStyle = CARD;
  roundedPath(context, box, style === 'tag' ? 6 : 9);
  context.fill();
  if (style === 'tag' || !expression) {
    drawTag(context, box, number, expression);
    return;
  }
  const row: Box = { x: box.x + 10, y: box.y + 14, width: box.width - 20, height: 0 };
  drawTitle(context, row, number, expression);
  if (style === 'bars') drawBars(context, { ...row, y: box.y + 40 }, expression);
  else drawStackedBar(context, { ...row, y: box.y + 27, height: 6 }, expression);
}

/** Draw a thin line from a label to its face, if they are apart. */
function drawLeader(context: Context, face: Box, label: Box, color: string): void {
  const clamp = (value: number, min: number, size: number) => Math.max(min, Math.min(value, min + size));
  const start = {
    x: clamp(face.x + face.width / 2, label.x, label.width),
    y: clamp(face.y + face.height / 2, label.y, label.height),
  };
  const end = { x: clamp(start.x, face.x, face.width), y: clamp(start.y, face.y, face.height) };
  if (Math.hypot(start.x - end.x, start.y - end.y) < MIN_LEADER_PX) return;
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(start.x, start.y);
  context.lineTo(end.x, end.y);
  context.stroke();
}

function drawTag(context: Context, box: Box, number: number, expression: Expression | null): void {
  context.textBaseline = 'middle';
  context.textAlign = 'center';
  context.font = `600 11px ${FONT}`;
  context.fillStyle = expression?.label ? tint(expressionColor(expression), TEXT_TINT) : QUIET;
  const text = `${number} ${formatLabel(expression)}`;
  context.fillText(text, box.x + box.width / 2, box.y + box.height / 2 + 0.5, box.width - 8);
}

function drawTitle(context: Context, row: Box, number: number, expression: Expression): void {
  const hasLabel = expression.label !== null;
  context.textBaseline = 'middle';
  context.textAlign = 'left';
  context.font = `500 12px ${FONT}`;
  context.fillStyle = QUIET;
  context.fillText(String(number), row.x, row.y);
  const start = context.measureText(`${number}`).width + 7;
  context.font = `600 13px ${FONT}`;
  context.fillStyle = hasLabel ? tint(expressionColor(expression), TEXT_TINT) : QUIET;
  const confidence = formatPercent(expression.confidence);
  const maxWidth = row.width - start - context.measureText(` ${confidence}`).width;
  context.fillText(formatLabel(expression), row.x + start, row.y, maxWidth);
  context.textAlign = 'right';
  context.fillStyle = hasLabel ? INK : QUIET;
  context.fillText(confidence, row.x + row.width, row.y);
}

/** Draw the most probable labels, each with a bar. */
function drawBars(context: Context, row: Box, expression: Expression): void {
  const top = Object.entries(expression.probabilities)
    .sort(([, a], [, b]) => b - a)
    .slice(0, BARS);
  context.font = `400 12px ${FONT}`;
  top.forEach(([label, probability], index) => {
    const y = row.y + 20 * index;
    context.textAlign = 'left';
    context.fillStyle = probability >= 0.1 ? INK : QUIET;
    context.fillText(label, row.x, y, NAME_PX);
    context.textAlign = 'right';
    const isShown = probability >= 0.005;
    if (isShown) context.fillText(formatPercent(probability), row.x + row.width, y);
    const bar = { x: row.x + NAME_PX + 6, y: y - 3, width: row.width - NAME_PX - 44, height: 6 };
    context.fillStyle = BAR_TRACK;
    roundedPath(context, bar, 3);
    context.fill();
    if (!isShown) return;
    context.fillStyle = labelColor(label);
    roundedPath(context, { ...bar, width: Math.max(6, bar.width * probability) }, 3);
    context.fill();
  });
}

/** Draw all probabilities as segments of one bar. */
function drawStackedBar(context: Context, bar: Box, expression: Expression): void {
  context.save();
  roundedPath(context, bar, bar.height / 2);
  context.clip();
  let x = bar.x;
  for (const [label, probability] of Object.entries(expression.probabilities)) {
    context.fillStyle = labelColor(label);
    context.fillRect(x, bar.y, probability * bar.width + 0.5, bar.height);
    x += probability * bar.width;
  }
  context.restore();
}

/** Draw only the number, when no label fits. */
function drawBadge(context: Context, box: Box, number: number): void {
  const x = box.x + box.width / 2;
  const y = box.y + box.height / 2;
  context.fillStyle = CARD;
  roundedPath(context, { x: x - BADGE.width / 2, y: y - BADGE.height / 2, ...BADGE }, 6);
  context.fill();
  context.font = `600 11px ${FONT}`;
  context.fillStyle = INK;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(String(number), x, y + 0.5);
}
