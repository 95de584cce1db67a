/** List of face cards. */

import type { Frame } from '../backend';
import { FaceCard } from './faceCard';
import type { History } from './history';
import { faceNumber } from './overlay';

/** Number of cards that start expanded. */
const OPEN_CARDS = 2;
/** Time that the card of a lost face stays visible. */
const LOST_CARD_S = 1.5;
const THUMBNAIL_INTERVAL_S = 1;

export class FaceList {
  private cards = new Map<number, FaceCard>();
  /** Number of the highlighted face; null without one. */
  private highlighted: number | null = null;

  /**
   * @param list the element that contains the cards.
   * @param onHighlight called with the number of the hovered or focused face, or null.
   */
  constructor(
    private readonly list: HTMLElement,
    private readonly onHighlight: (number: number | null) => void,
  ) {}

  clear(): void {
    this.highlight(null);
    this.cards.clear();
    this.list.replaceChildren();
  }

  /** Show the faces of a frame; `image` is `imageWidth` pixels wide. */
  update(frame: Frame, image: CanvasImageSource, imageWidth: number, mirrored: boolean, now_s: number): void {
    const visible = new Set(frame.faces.map(faceNumber));
    for (const [number, card] of this.cards) {
      if (!visible.has(number)) this.expire(number, card, now_s);
    }
    const source = { image, scale: imageWidth / frame.width, mirrored };
    frame.faces.forEach((face, index) => {
      const number = faceNumber(face, index);
      const card = this.cards.get(number) ?? this.addCard(number);
      card.update(face, now_s);
      card.updateThumbnail(face, source, now_s, THUMBNAIL_INTERVAL_S);
    });
  }

  drawTimelines(history: History): void {
    for (const [number, card] of this.cards) card.timeline.draw(history.tracks.get(number) ?? [], history);
  }

  /** Remove the card of a lost face, unless it has keyboard focus. */
  private expire(number: number, card: FaceCard, now_s: number): void {
    card.root.classList.add('lost');
    if (now_s - card.lastSeen_s < LOST_CARD_S || card.root.contains(document.activeElement)) return;
    card.root.remove();
    this.cards.delete(number);
    // A card that is removed does not notice that the pointer leaves it.
    if (this.highlighted === number) this.highlight(null);
  }

  private highlight(number: number | null): void {
    if (number === this.highlighted) return;
    this.highlighted = number;
    this.onHighlight(number);
  }

  private addCard(number: number): FaceCard {
    const cards = [...this.cards.values()];
    const visible = cards.filter(({ root }) => !root.classList.contains('lost'));
    const card = new FaceCard(number, visible.length < OPEN_CARDS);
    this.cards.set(number, card);
    card.root.addEventListener('pointerenter', () => this.highlight(number));
    card.root.addEventListener('pointerleave', () => this.highlight(null));
    card.root.addEventListener('focusin', () => this.highlight(number));
    card.root.addEventListener('focusout', () => this.highlight(null));
    const next = cards.find((other) => other.number > number);
    this.list.insertBefore(card.root, next?.root ?? null);
    return card;
  }
}
