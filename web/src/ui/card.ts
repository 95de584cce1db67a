/** The panel of one face: its label, last moments, all probabilities, head pose and quality. */

import type { Expression, Face } from '../reader';
import { make, write } from './elements';
import { labelColour } from './palette';
import { Timeline } from './timeline';
import { labelText, percent, poseNumbers, poseWords, qualityNumbers, qualityWords, shown } from './words';

interface Meter {
  root: HTMLElement;
  bar: HTMLElement;
  value: HTMLElement;
}

/** An item of the list of faces; it can be folded to its label. */
export class FaceCard {
  readonly root = make('li', 'face');
  /** The time the face was last seen. */
  seen_s = 0;
  readonly timeline: Timeline;
  private readonly details = make('details');
  private readonly thumbnail = make('canvas', 'thumbnail');
  private readonly label = make('span', 'label');
  private readonly share = make('span', 'share');
  private readonly strip = make('span', 'strip');
  private readonly meters = make('div', 'meters');
  private readonly pose = make('dd');
  private readonly quality = make('dd');
  private readonly rows = new Map<string, Meter>();
  private pictured_s = -Infinity;

  constructor(
    readonly number: number,
    open: boolean,
  ) {
    this.details.open = open;
    this.timeline = new Timeline(number);
    this.thumbnail.width = this.thumbnail.height = 96;
    this.thumbnail.setAttribute('aria-hidden', 'true');
    this.strip.setAttribute('aria-hidden', 'true');
    const words = make('span', 'words', make('h3', '', `Face ${number}`), this.label);
    const facts = make('dl', 'traits');
    facts.append(make('div', '', make('dt', '', 'Head'), this.pose), make('div', '', make('dt', '', 'Quality'), this.quality));
    this.details.append(
      make('summary', '', this.thumbnail, words, this.share, this.strip),
      make('div', 'body', this.timeline.root, this.meters, facts),
    );
    this.root.append(this.details);
  }

  /** Shows what is now read of the face. */
  update(face: Face, now_s: number): void {
    this.seen_s = now_s;
    this.root.classList.remove('away');
    const expression = shown(face);
    this.root.style.setProperty('--colour', labelColour(expression?.label ?? null));
    this.root.classList.toggle('unsure', !expression?.label);
    write(this.label, labelText(expression));
    write(this.share, expression ? percent(expression.confidence) : '');
    if (expression) this.showShares(expression);
    showTrait(this.pose, poseWords(face.head_pose_deg), face.head_pose_deg && poseNumbers(face.head_pose_deg));
    showTrait(this.quality, qualityWords(face.quality), face.quality && qualityNumbers(face.quality));
  }

  /** Draws the face's own picture; not more often than every `every_s`. */
  picture(face: Face, source: CanvasImageSource, scale: number, mirrored: boolean, now_s: number, every_s: number): void {
    const context = this.thumbnail.getContext('2d');
    if (!context || now_s - this.pictured_s < every_s) return;
    this.pictured_s = now_s;
    const [left, top, right, bottom] = face.bbox_xyxy;
    const side = 1.35 * Math.max(right - left, bottom - top);
    const [x, y] = [(left + right - side) / 2, (top + bottom - side) / 2 - 0.05 * side];
    context.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? this.thumbnail.width : 0, 0);
    context.clearRect(0, 0, this.thumbnail.width, this.thumbnail.height);
    context.drawImage(source, x * scale, y * scale, side * scale, side * scale, 0, 0, 96, 96);
  }

  private showShares(expression: Expression): void {
    for (const [label, share] of Object.entries(expression.probabilities)) {
      const row = this.rows.get(label) ?? this.open(label);
      const text = percent(share);
      row.root.setAttribute('aria-valuenow', (100 * share).toFixed(1));
      row.root.setAttribute('aria-valuetext', text);
      row.root.classList.toggle('strong', share >= 0.1);
      row.bar.style.setProperty('--share', share < 0.005 ? '0' : share.toFixed(4));
      write(row.value, share < 0.005 ? '' : text);
      const part = this.strip.children[[...this.rows.keys()].indexOf(label)] as HTMLElement;
      part.style.setProperty('--share', share.toFixed(4));
    }
  }

  private open(label: string): Meter {
    const [bar, value] = [make('span', 'fill'), make('span', 'value')];
    const root = make('div', 'meter', make('span', 'name', label), make('span', 'lane', bar), value);
    root.setAttribute('role', 'meter');
    root.setAttribute('aria-label', label);
    root.setAttribute('aria-valuemin', '0');
    root.setAttribute('aria-valuemax', '100');
    root.style.setProperty('--colour', labelColour(label));
    this.meters.append(root);
    const part = make('i');
    part.style.setProperty('--colour', labelColour(label));
    this.strip.append(part);
    const row = { root, bar, value };
    this.rows.set(label, row);
    return row;
  }
}

function showTrait(place: HTMLElement, words: string, numbers: string | null): void {
  if (!place.firstElementChild) place.append(make('span', 'plain'), make('span', 'numbers'));
  write(place.children[0], words);
  write(place.children[1], numbers ?? '');
}
