/** The list of all faces in sight. */

import type { Frame } from '../reader';
import { FaceCard } from './card';
import type { History } from './history';
import { faceNumber } from './overlay';

/** So many faces are shown unfolded. */
const OPEN_FACES = 2;
/** A face out of sight keeps its panel this long. */
const LINGER_S = 1.5;
const THUMBNAIL_EVERY_S = 1;

export class FaceList {
  private cards = new Map<number, FaceCard>();

  /**
   * @param list where the panels go.
   * @param point told the number of the face that is pointed at, or null.
   */
  constructor(
    private readonly list: HTMLElement,
    private readonly point: (number: number | null) => void,
  ) {}

  clear(): void {
    this.cards.clear();
    this.list.replaceChildren();
  }

  /** Shows the faces of a frame; `source` is what it was read from, as large as `source_wide`. */
  update(frame: Frame, source: CanvasImageSource, source_wide: number, mirrored: boolean, now_s: number): void {
    const present = new Set(frame.faces.map(faceNumber));
    for (const [number, card] of this.cards) if (!present.has(number)) this.linger(number, card, now_s);
    frame.faces.forEach((face, index) => {
      const card = this.cards.get(faceNumber(face, index)) ?? this.open(faceNumber(face, index));
      card.update(face, now_s);
      card.picture(face, source, source_wide / frame.width, mirrored, now_s, THUMBNAIL_EVERY_S);
    });
  }

  /** Draws the last moments of every face. */
  drawHistory(history: History): void {
    for (const [number, card] of this.cards) card.timeline.draw(history.tracks.get(number) ?? [], history);
  }

  /** Lets a face's panel go, unless somebody is in it with the keyboard. */
  private linger(number: number, card: FaceCard, now_s: number): void {
    card.root.classList.add('away');
    if (now_s - card.seen_s < LINGER_S || card.root.contains(document.activeElement)) return;
    card.root.remove();
    this.cards.delete(number);
  }

  private open(number: number): FaceCard {
    const present = [...this.cards.values()].filter((other) => !other.root.classList.contains('away'));
    const card = new FaceCard(number, present.length < OPEN_FACES);
    this.cards.set(number, card);
    card.root.addEventListener('pointerenter', () => this.point(number));
    card.root.addEventListener('pointerleave', () => this.point(null));
    card.root.addEventListener('focusin', () => this.point(number));
    card.root.addEventListener('focusout', () => this.point(null));
    const after = [...this.cards.values()].find((other) => other.number > number);
    this.list.insertBefore(card.root, after?.root ?? null);
    return card;
  }
}
