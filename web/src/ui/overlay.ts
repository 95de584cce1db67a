/** What is drawn over the picture: a frame round every face, its number, its head's axes and a card. */

import type { Expression, Face, Frame } from '../reader';
import { type Box, openCanvas, roundedPath } from './canvas';
import { type Size, placeCard } from './placement';
import { labelColour, tint } from './palette';
import { headAxes } from './pose';
import { labelText, percent, shown } from './words';

const CARD = 'rgb(17 19 26 / 87%)';
const WHITE = '#f5f6fa';
const SOFT = '#b0b6c2';
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** With so few faces in so wide a picture every card has room for bars. */
const FEW = 3;
const WIDE_PX = 560;
const BARS = 3;
const LEADER_PX = 24;

type Style = 'bars' | 'strip' | 'tag';
const SIZES: Record<Style, Size> = {
  bars: { wide: 192, high: 38 + 20 * BARS },
  strip: { wide: 156, high: 40 },
  tag: { wide: 84, high: 18 },
};
const NUMBER: Size = { wide: 20, high: 18 };

export interface Look {
  /** Left and right are changed, as in a mirror; text is not. */
  mirrored: boolean;
  /** The number of the face whose card is pointed at, or null. */
  pointed: number | null;
}

/** The number by which a face is called: its track, or its place in the list of a picture's faces. */
export function faceNumber(face: Face, index: number): number {
  return face.track_id ?? index + 1;
}

/** Draws over a picture that is shown as large as its place allows, in its middle. */
export class Overlay {
  private choices = new Map<number, number>();

  constructor(private readonly canvas: HTMLCanvasElement) {}

  clear(): void {
    openCanvas(this.canvas);
    this.choices.clear();
  }

  draw(frame: Frame, look: Look): void {
    const context = openCanvas(this.canvas);
    const view = viewOf(frame, this.canvas);
    const boxes = frame.faces.map((face) => boxOf(face, frame, view, look.mirrored));
    const style = cardStyle(frame.faces.length, view);
    const taken = [...boxes];
    const choices = new Map<number, number>();
    frame.faces.forEach((face, index) => {
      const number = faceNumber(face, index);
      const dim = look.pointed !== null && look.pointed !== number;
      context.globalAlpha = dim ? 0.3 : 1;
      drawFrame(context, boxes[index], faceColour(shown(face)));
      drawAxes(context, face, boxes[index], look.mirrored);
      const last = this.choices.get(number) ?? -1;
      const place = placeCard(SIZES[shown(face) ? style : 'tag'], boxes[index], view, taken, style !== 'tag', last);
      const { box } = place ?? placeCard(NUMBER, boxes[index], view, taken, false, 0) ?? { box: boxes[index] };
      taken.push(box);
      if (place) choices.set(number, place.choice);
      if (dim) return;
      if (!place) return drawNumber(context, box, number);
      drawLeader(context, boxes[index], box, faceColour(shown(face)));
      drawCard(context, box, number, shown(face), style);
    });
    context.globalAlpha = 1;
    this.choices = choices;
  }
}

/** Where a picture stands in its place, which keeps its proportions. */
function viewOf(frame: Frame, canvas: HTMLCanvasElement): Box {
  const scale = Math.min(canvas.clientWidth / frame.width, canvas.clientHeight / frame.height);
  const [wide, high] = [frame.width * scale, frame.height * scale];
  return { x: (canvas.clientWidth - wide) / 2, y: (canvas.clientHeight - high) / 2, wide, high };
}

function boxOf(face: Face, frame: Frame, view: Box, mirrored: boolean): Box {
  const scale = view.wide / frame.width;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const from = mirrored ? frame.width - right : left;
  return { x: view.x + from * scale, y: view.y + top * scale, wide: (right - left) * scale, high: (bottom - top) * scale };
}

function faceColour(expression: Expression | null): string {
  return labelColour(expression?.label ?? null);
}

/** A hairline with strong round corners, on a soft dark edge that holds on bright pictures. */
function drawFrame(context: CanvasRenderingContext2D, box: Box, colour: string): void {
  const side = Math.min(box.wide, box.high);
  const thick = Math.max(2, Math.min(4, side / 24));
  const arm = side / 5;
  const radius = arm / 2;
  context.lineCap = 'round';
  context.strokeStyle = `${colour}70`;
  context.lineWidth = 1;
  roundedPath(context, box, radius);
  context.stroke();
  for (const [line, stroke] of [
    [thick + 2, 'rgb(0 0 0 / 35%)'],
    [thick, colour],
  ] as const) {
    context.strokeStyle = stroke;
    context.lineWidth = line;
    drawCorners(context, box, arm, radius);
  }
}

function drawCorners(context: CanvasRenderingContext2D, box: Box, arm: number, radius: number): void {
  for (const [x, y, right, down] of [
    [box.x, box.y, 1, 1],
    [box.x + box.wide, box.y, -1, 1],
    [box.x + box.wide, box.y + box.high, -1, -1],
    [box.x, box.y + box.high, 1, -1],
  ]) {
    context.beginPath();
    context.moveTo(x, y + down * arm);
    context.arcTo(x, y, x + right * arm, y, radius);
    context.lineTo(x + right * arm, y);
    context.stroke();
  }
}

function drawAxes(context: CanvasRenderingContext2D, face: Face, box: Box, mirrored: boolean): void {
  const length = 0.17 * Math.min(box.wide, box.high);
  if (!face.head_pose_deg || length < 5) return;
  const [left, top, right, bottom] = face.bbox_xyxy;
  const [nose_x, nose_y] = face.landmarks_xy[2];
  const across = (nose_x - left) / (right - left);
  const x = box.x + box.wide * (mirrored ? 1 - across : across);
  const y = box.y + (box.high * (nose_y - top)) / (bottom - top);
  context.lineWidth = Math.max(1.5, length / 9);
  for (const axis of headAxes(face.head_pose_deg)) {
    context.strokeStyle = axis.colour;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + (mirrored ? -axis.x : axis.x) * length, y + axis.y * length);
    context.stroke();
  }
  context.fillStyle = WHITE;
  context.beginPath();
  context.arc(x, y, context.lineWidth * 0.8, 0, 2 * Math.PI);
  context.fill();
}

/** Bars where there is room for them, a strip otherwise, and the label alone for a crowd on a phone. */
function cardStyle(faces: number, view: Box): Style {
  if (view.wide >= WIDE_PX) return faces <= FEW ? 'bars' : 'strip';
  return faces <= FEW ? 'strip' : 'tag';
}

function drawCard(
  context: CanvasRenderingContext2D,
  box: Box,
  number: number,
  expression: Expression | null,
  style: Style,
): void {
  context.fillStyle = CARD;
  roundedPath(context, box, style === 'tag' ? 6 : 9);
  context.fill();
  if (style === 'tag' || !expression) return drawTag(context, box, number, expression);
  const row: Box = { x: box.x + 10, y: box.y + 14, wide: box.wide - 20, high: 0 };
  drawTitle(context, row, number, expression);
  if (style === 'bars') drawBars(context, { ...row, y: box.y + 40 }, expression);
  else drawStrip(context, { ...row, y: box.y + 27, high: 6 }, expression);
}

/** A thin line from a card to its face, where they are apart. */
function drawLeader(context: CanvasRenderingContext2D, face: Box, card: Box, colour: string): void {
  const nearest = (from: number, long: number, at: number) => Math.max(from, Math.min(at, from + long));
  const [x, y] = [face.x + face.wide / 2, face.y + face.high / 2];
  const start = { x: nearest(card.x, card.wide, x), y: nearest(card.y, card.high, y) };
  const end = { x: nearest(face.x, face.wide, start.x), y: nearest(face.y, face.high, start.y) };
  if (Math.hypot(start.x - end.x, start.y - end.y) < LEADER_PX) return;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(start.x, start.y);
  context.lineTo(end.x, end.y);
  context.stroke();
}

function drawTag(context: CanvasRenderingContext2D, box: Box, number: number, expression: Expression | null): void {
  context.textBaseline = 'middle';
  context.textAlign = 'center';
  context.font = `600 11px ${FONT}`;
  context.fillStyle = expression?.label ? tint(faceColour(expression), 0.4) : SOFT;
  const text = `${number} ${labelText(expression)}`;
  context.fillText(text, box.x + box.wide / 2, box.y + box.high / 2 + 0.5, box.wide - 8);
}

function drawTitle(context: CanvasRenderingContext2D, row: Box, number: number, expression: Expression): void {
  const sure = expression.label !== null;
  context.textBaseline = 'middle';
  context.textAlign = 'left';
  context.font = `500 12px ${FONT}`;
  context.fillStyle = SOFT;
  context.fillText(String(number), row.x, row.y);
  const start = context.measureText(`${number}`).width + 7;
  context.font = `600 13px ${FONT}`;
  context.fillStyle = sure ? tint(faceColour(expression), 0.4) : SOFT;
  const share = percent(expression.confidence);
  const room = row.wide - start - context.measureText(` ${share}`).width;
  context.fillText(labelText(expression), row.x + start, row.y, room);
  context.textAlign = 'right';
  context.fillStyle = sure ? WHITE : SOFT;
  context.fillText(share, row.x + row.wide, row.y);
}

/** The most probable labels, each with its bar. */
function drawBars(context: CanvasRenderingContext2D, row: Box, expression: Expression): void {
  const most = Object.entries(expression.probabilities)
    .sort(([, a], [, b]) => b - a)
    .slice(0, BARS);
  const names = 70;
  context.font = `400 12px ${FONT}`;
  most.forEach(([label, share], index) => {
    const y = row.y + 20 * index;
    context.textAlign = 'left';
    context.fillStyle = share >= 0.1 ? WHITE : SOFT;
    context.fillText(label, row.x, y, names);
    context.textAlign = 'right';
    if (share >= 0.005) context.fillText(percent(share), row.x + row.wide, y);
    const lane = { x: row.x + names + 6, y: y - 3, wide: row.wide - names - 44, high: 6 };
    context.fillStyle = 'rgb(255 255 255 / 14%)';
    roundedPath(context, lane, 3);
    context.fill();
    if (share < 0.005) return;
    context.fillStyle = labelColour(label);
    roundedPath(context, { ...lane, wide: Math.max(6, lane.wide * share) }, 3);
    context.fill();
  });
}

/** All probabilities as the parts of one strip. */
function drawStrip(context: CanvasRenderingContext2D, lane: Box, expression: Expression): void {
  context.save();
  roundedPath(context, lane, lane.high / 2);
  context.clip();
  let x = lane.x;
  for (const [label, share] of Object.entries(expression.probabilities)) {
    context.fillStyle = labelColour(label);
    context.fillRect(x, lane.y, share * lane.wide + 0.5, lane.high);
    x += share * lane.wide;
  }
  context.restore();
}

/** The number alone, where a card has no room. */
function drawNumber(context: CanvasRenderingContext2D, box: Box, number: number): void {
  const middle = { x: box.x + box.wide / 2, y: box.y + box.high / 2 };
  const badge = { x: middle.x - NUMBER.wide / 2, y: middle.y - NUMBER.high / 2, ...NUMBER };
  context.fillStyle = CARD;
  roundedPath(context, badge, 6);
  context.fill();
  context.font = `600 11px ${FONT}`;
  context.fillStyle = WHITE;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(String(number), middle.x, middle.y + 0.5);
}
