/** Tells a screen reader what changes, at a rate that can be listened to. */

import type { Face } from '../reader';
import { write } from './elements';
import { countWords, faceWords, labelText, sentence, shown } from './words';

const CALM_S = 4;
const MOST_FACES = 4;

export class Announcer {
  private told = new Map<number, string>();
  private spoken_s = -Infinity;

  constructor(private readonly line: HTMLElement) {}

  /** Says something now. */
  say(text: string): void {
    write(this.line, text);
  }

  /** All faces of a picture, the first few one by one. */
  picture(faces: readonly Face[]): void {
    const parts = faces.slice(0, MOST_FACES).map((face, index) => faceWords(index + 1, shown(face)));
    if (faces.length > MOST_FACES) parts.push(`and ${faces.length - MOST_FACES} more`);
    this.say(sentence([`${countWords(faces.length)} found`, ...parts]));
  }

  /** The faces of a moving picture: tells who came, went or changed, at most once in `CALM_S`. */
  moving(faces: readonly Face[], now_s: number): void {
    if (now_s - this.spoken_s < CALM_S) return;
    const now = new Map(faces.map((face) => [face.track_id ?? 0, labelText(shown(face))]));
    const parts = faces
      .filter((face) => now.get(face.track_id ?? 0) !== this.told.get(face.track_id ?? 0))
      .slice(0, MOST_FACES)
      .map((face) => faceWords(face.track_id ?? 0, shown(face)));
    const left = [...this.told.keys()].filter((number) => !now.has(number));
    if (left.length > 0) parts.push(`${left.map((number) => `face ${number}`).join(', ')} out of sight`);
    if (parts.length === 0) return;
    this.told = now;
    this.spoken_s = now_s;
    this.say(sentence(parts));
  }

  /** Another source: everything is new. */
  forget(): void {
    this.told.clear();
    this.spoken_s = -Infinity;
  }
}
