/** Screen reader announcements, rate limited. */

import type { Face } from '../backend';
import { setText } from './dom';
import { displayedExpression, formatFace, formatFaceCount, formatLabel, toSentence } from './format';

const MIN_INTERVAL_S = 4;
const MAX_FACES = 4;

export class Announcer {
  private announcedLabels = new Map<number, string>();
  private last_s = -Infinity;
  private lastVoice_s = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly region: HTMLElement) {}

  /** Announce a text. The region is emptied first, because screen readers do not announce an unchanged text again. */
  announce(text: string): void {
    this.clear();
    this.timer = setTimeout(() => setText(this.region, text));
  }

  /** Announce the faces of a single image, the first few one by one. */
  announceImage(faces: readonly Face[]): void {
    const parts = faces.slice(0, MAX_FACES).map((face, index) => formatFace(index + 1, displayedExpression(face)));
    if (faces.length > MAX_FACES) parts.push(`and ${faces.length - MAX_FACES} more`);
    this.announce(toSentence([`${formatFaceCount(faces.length)} found`, ...parts]));
  }

  /** Announce new, changed and lost faces of a video, at most once per `MIN_INTERVAL_S`. */
  announceFrame(faces: readonly Face[], now_s: number): void {
    if (now_s - this.last_s < MIN_INTERVAL_S) return;
    const labels = new Map(faces.map((face) => [face.track_id ?? 0, formatLabel(displayedExpression(face))]));
    const parts = faces
      .filter(({ track_id = 0 }) => labels.get(track_id) !== this.announcedLabels.get(track_id))
      .slice(0, MAX_FACES)
      .map((face) => formatFace(face.track_id ?? 0, displayedExpression(face)));
    const lost = [...this.announcedLabels.keys()].filter((number) => !labels.has(number));
    if (lost.length > 0) parts.push(`${lost.map((number) => `face ${number}`).join(', ')} no longer visible`);
    if (parts.length === 0) return;
    this.announcedLabels = labels;
    this.last_s = now_s;
    this.announce(toSentence(parts));
  }

  /** Announce a segment of speech, at most one per `MIN_INTERVAL_S`. */
  announceVoice(text: string, now_s: number): void {
    if (now_s - this.lastVoice_s < MIN_INTERVAL_S) return;
    this.lastVoice_s = now_s;
    this.announce(text);
  }

  /** Forget the announced faces, so that all are announced again. */
  reset(): void {
    this.announcedLabels.clear();
    this.last_s = -Infinity;
  }

  /** Remove the last announcement. */
  clear(): void {
    clearTimeout(this.timer);
    setText(this.region, '');
  }
}
