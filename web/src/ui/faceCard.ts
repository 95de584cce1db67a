/** Card of one face: label, timeline, probabilities, head pose and quality. */

import type { Face } from '../backend';
import { create, setText } from './dom';
import {
  displayedExpression,
  formatLabel,
  formatPercent,
  formatPose,
  formatPoseAngles,
  formatQuality,
  formatQualityValues,
} from './format';
import { Meters, StackedBar } from './meters';
import { Movements } from './movements';
import { labelColor } from './palette';
import { Timeline } from './timeline';

/** Side of the thumbnail canvas, in pixels. */
const THUMBNAIL_PX = 96;
/** Side of the thumbnail's crop relative to the longer side of the face's box. */
const THUMBNAIL_SCALE = 1.35;
/** Upward shift of the thumbnail's crop relative to its side. */
const THUMBNAIL_SHIFT = 0.05;

/** Source of a face's thumbnail. */
export interface ThumbnailSource {
  image: CanvasImageSource;
  /** Factor from face coordinates to pixels of the image. */
  scale: number;
  mirrored: boolean;
}

/** A collapsible item of the face list. */
export class FaceCard {
  readonly root = create('li', 'face');
  lastSeen_s = 0;
  readonly timeline: Timeline;
  private readonly details = create('details');
  private readonly thumbnail = create('canvas', 'thumbnail');
  private readonly label = create('span', 'label');
  private readonly confidence = create('span', 'confidence');
  private readonly stackedBar = new StackedBar();
  private readonly meters = new Meters();
  private readonly movements = new Movements();
  private readonly pose = create('dd');
  private readonly quality = create('dd');
  private thumbnail_s = -Infinity;

  constructor(
    readonly number: number,
    isOpen: boolean,
  ) {
    this.details.open = isOpen;
    this.timeline = new Timeline(number);
    this.thumbnail.width = this.thumbnail.height = THUMBNAIL_PX;
    this.thumbnail.setAttribute('aria-hidden', 'true');
    const caption = create('span', 'caption', create('h3', '', `Face ${number}`), this.label);
    const attributes = create('dl', 'attributes');
    attributes.append(
      create('div', '', create('dt', '', 'Head pose'), this.pose),
      create('div', '', create('dt', '', 'Quality'), this.quality),
    );
    this.details.append(
      create('summary', '', this.thumbnail, caption, this.confidence, this.stackedBar.root),
      create('div', 'body', this.timeline.root, this.meters.root, this.movements.root, attributes),
    );
    this.root.append(this.details);
  }

  update(face: Face, now_s: number): void {
    this.lastSeen_s = now_s;
    this.root.classList.remove('lost');
    const expression = displayedExpression(face);
    this.root.style.setProperty('--class-color', labelColor(expression?.label ?? null));
    this.root.classList.toggle('unsure', !expression?.label);
    setText(this.label, formatLabel(expression));
    setText(this.confidence, expression ? formatPercent(expression.confidence) : '');
    if (expression) {
      this.meters.update(expression.probabilities);
      this.stackedBar.update(expression.probabilities);
    }
    this.movements.update(face);
    const { head_pose_deg: pose, quality } = face;
    setAttribute(this.pose, formatPose(pose), pose && formatPoseAngles(pose));
    const visibility = face.is_face_doubtful ? 'uncertain: perhaps not a face' : formatQuality(quality);
    setAttribute(this.quality, visibility, quality && formatQualityValues(quality));
  }

  /** Draw the thumbnail if the last one is at least `interval_s` old. */
  updateThumbnail(face: Face, source: ThumbnailSource, now_s: number, interval_s: number): void {
    const context = this.thumbnail.getContext('2d');
    if (!context || now_s - this.thumbnail_s < interval_s) return;
    this.thumbnail_s = now_s;
    const { image, scale, mirrored } = source;
    const [left, top, right, bottom] = face.bbox_xyxy;
    const side = THUMBNAIL_SCALE * Math.max(right - left, bottom - top);
    const x = (left + right - side) / 2;
    const y = (top + bottom - side) / 2 - THUMBNAIL_SHIFT * side;
    const size = THUMBNAIL_PX;
    context.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? size : 0, 0);
    context.clearRect(0, 0, size, size);
    context.drawImage(image, x * scale, y * scale, side * scale, side * scale, 0, 0, size, size);
  }
}

/** Set the description of an attribute and its numeric values. */
function setAttribute(target: HTMLElement, text: string, values: string | null): void {
  if (!target.firstElementChild) target.append(create('span'), create('span', 'numbers'));
  setText(target.children[0], text);
  setText(target.children[1], values ?? '');
}
