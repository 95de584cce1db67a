/** Everything that is told about the faces: panels, speed, and the spoken line. */

import type { Frame, Reader } from '../reader';
import { Announcer } from './announcer';
import { element, write } from './elements';
import { FaceList } from './facelist';
import { History } from './history';
import { Pace } from './pace';
import type { Stage } from './stage';
import { countWords, duration } from './words';

const PANELS_EVERY_MS = 100;
const FACTS_EVERY_MS = 500;
const HINT =
  'Every face gets its perceived expression with all probabilities, its last 30 seconds, its head pose, ' +
  'and how well it can be seen.';

export class Results {
  readonly announcer = new Announcer(element('spoken', HTMLElement));
  private readonly list: FaceList;
  private readonly pace = new Pace();
  private readonly calm = window.matchMedia('(prefers-reduced-motion: reduce)');
  private history = new History([]);
  private due = { panels: 0, lanes: 0, facts: 0 };

  constructor(private readonly stage: Stage) {
    this.list = new FaceList(element('faces', HTMLElement), (number) => stage.point(number));
  }

  /** A new source or another reader: nobody keeps a number. */
  begin(reader: Reader, moving: boolean): void {
    this.clear();
    this.history = new History(reader.labels);
    element('fact-rate-box', HTMLElement).hidden = !moving;
    element('facts', HTMLElement).hidden = false;
    write(element('fact-backend', HTMLElement), reader.backend);
    for (const id of ['fact-rate', 'fact-latency']) write(element(id, HTMLElement), '–');
  }

  clear(): void {
    this.list.clear();
    this.pace.forget();
    this.announcer.forget();
    this.due = { panels: 0, lanes: 0, facts: 0 };
    element('facts', HTMLElement).hidden = true;
    this.hint(HINT, null);
  }

  showPicture(frame: Frame, name: string): void {
    const { pixels, wide } = this.stage.source;
    this.stage.draw(frame);
    this.stage.describe(`${name}: ${countWords(frame.faces.length)} found`);
    this.list.update(frame, pixels, wide, false, performance.now() / 1000);
    this.hint('No face was found in this picture.', frame.faces.length);
    write(element('fact-latency', HTMLElement), duration(frame.latency_ms));
    this.announcer.picture(frame.faces);
  }

  /** A frame of a moving picture: the overlay at once, everything else at a rate that can be read. */
  showFrame(frame: Frame): void {
    const now_ms = performance.now();
    const now_s = now_ms / 1000;
    this.stage.draw(frame);
    this.history.add(frame, now_s);
    this.pace.note(now_ms, frame.latency_ms);
    if (this.isDue('panels', now_ms, PANELS_EVERY_MS)) {
      const { pixels, wide } = this.stage.source;
      this.list.update(frame, pixels, wide, this.stage.mirrored, now_s);
      this.hint('No face in sight.', frame.faces.length);
      this.announcer.moving(frame.faces, now_s);
    }
    if (this.isDue('lanes', now_ms, this.calm.matches ? 1000 : 120)) this.list.drawHistory(this.history);
    if (this.isDue('facts', now_ms, FACTS_EVERY_MS)) this.showPace();
  }

  private showPace(): void {
    const { rate, latency_ms } = this.pace;
    if (rate !== null) write(element('fact-rate', HTMLElement), rate.toFixed(rate < 10 ? 1 : 0));
    if (latency_ms !== null) write(element('fact-latency', HTMLElement), duration(latency_ms));
  }

  /** How many faces there are, and a line where there are none. */
  private hint(text: string, faces: number | null): void {
    const hint = element('faces-hint', HTMLElement);
    write(hint, text);
    hint.hidden = Boolean(faces);
    element('legend', HTMLElement).hidden = faces !== null;
    write(element('faces-count', HTMLElement), faces ? String(faces) : '');
  }

  private isDue(what: keyof typeof this.due, now_ms: number, every_ms: number): boolean {
    if (now_ms < this.due[what]) return false;
    this.due[what] = now_ms + every_ms;
    return true;
  }
}
