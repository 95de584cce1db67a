/** Display of results: face cards, throughput and announcements. */

import type { Backend, Frame } from '../backend';
import type { FaceTurn } from '../fusion/turn';
import { Announcer } from './announcer';
import { byId, setText } from './dom';
import { showDownloads } from './downloads';
import { FaceList } from './faceList';
import { faceDuring } from './faceTurn';
import { formatDuration, formatFaceCount } from './format';
import { History } from './history';
import { Throughput } from './throughput';
import type { Viewer } from './viewer';

/** Update intervals of a video's results, in milliseconds; the overlay is drawn for every frame. */
const INTERVALS_MS = { cards: 100, timelines: 120, throughput: 500 };
/** Update interval of timelines for users who prefer reduced motion. */
const CALM_TIMELINES_MS = 1000;
const NO_VALUE = '–';

export class Results {
  readonly announcer = new Announcer(byId('announcements', HTMLElement));
  private readonly list: FaceList;
  private readonly hint = byId('faces-hint', HTMLElement);
  private readonly introduction = this.hint.textContent ?? '';
  private readonly throughput = new Throughput();
  private readonly reducedMotion = window.matchMedia('(prefers-reduced-motion: reduce)');
  private history = new History([], 0);
  private nextUpdates_ms = { cards: 0, timelines: 0, throughput: 0 };

  constructor(private readonly viewer: Viewer) {
    this.list = new FaceList(byId('faces', HTMLElement), (number) => viewer.highlight(number));
  }

  /** Prepare for a new source or backend. */
  start(backend: Backend, isVideo: boolean): void {
    this.reset();
    this.viewer.clearFaces();
    this.history = new History(backend.labels, backend.abstainBelow);
    byId('rate-item', HTMLElement).hidden = !isVideo;
    byId('stats', HTMLElement).hidden = false;
    this.showRuntime(backend);
    this.clearThroughput();
  }

  showRuntime({ runtime }: Backend): void {
    setText(byId('runtime', HTMLElement), runtime);
  }

  clear(): void {
    this.reset();
    this.announcer.clear();
  }

  private reset(): void {
    this.list.clear();
    this.announcer.reset();
    this.nextUpdates_ms = { cards: 0, timelines: 0, throughput: 0 };
    byId('stats', HTMLElement).hidden = true;
    this.showFaceCount(this.introduction, null);
    showDownloads(false);
  }

  /** Remove the faces, which are no longer those of the image, and show why there are none. */
  suspend(reason: string): void {
    this.viewer.clearFaces();
    this.list.clear();
    this.clearThroughput();
    this.announcer.reset();
    this.announcer.clear();
    this.showFaceCount(reason, 0);
    showDownloads(false);
  }

  /** Forget the faces of a video, whose numbers start again. */
  forgetFaces(): void {
    this.history = new History(this.history.labels, this.history.abstainBelow);
    this.list.clear();
    this.announcer.reset();
  }

  showImage(frame: Frame, name: string): void {
    const { media, width } = this.viewer.source;
    this.list.clear();
    this.viewer.draw(frame);
    this.viewer.setDescription(`${name}: ${formatFaceCount(frame.faces.length)} found`);
    this.list.update(frame, media, width, false, performance.now() / 1000);
    this.showFaceCount('No face was found in this image.', frame.faces.length);
    setText(byId('latency', HTMLElement), formatDuration(frame.latency_ms));
    this.announcer.announceImage(frame.faces);
    showDownloads(true);
  }

  /** Show a video frame: the overlay at once, everything else at its own interval. */
  showFrame(frame: Frame): void {
    const now_ms = performance.now();
    const now_s = now_ms / 1000;
    // The first frame of a tracker; a new connection to the server has another one.
    if (frame.frame_index === 0) this.forgetFaces();
    this.viewer.drawLive(frame);
    showDownloads(true);
    this.history.add(frame, now_s);
    this.throughput.add(now_ms, frame.latency_ms);
    if (this.isDue('cards', now_ms)) {
      const { media, width } = this.viewer.source;
      this.list.update(frame, media, width, this.viewer.mirrored, now_s);
      this.showFaceCount('No face is visible.', frame.faces.length);
      this.announcer.announceFrame(frame.faces, now_s);
    }
    if (this.isDue('timelines', now_ms)) this.list.drawTimelines(this.history);
    if (this.isDue('throughput', now_ms)) this.showThroughput();
  }

  /** The face that the video showed during a time of this page's clock. */
  faceDuring(start_s: number, end_s: number): FaceTurn | 'several' | null {
    return faceDuring(this.history, start_s, end_s);
  }

  private showThroughput(): void {
    const { rate, latency_ms } = this.throughput;
    if (rate !== null) setText(byId('rate', HTMLElement), rate.toFixed(rate < 10 ? 1 : 0));
    if (latency_ms !== null) setText(byId('latency', HTMLElement), formatDuration(latency_ms));
  }

  private clearThroughput(): void {
    this.throughput.clear();
    for (const id of ['rate', 'latency']) setText(byId(id, HTMLElement), NO_VALUE);
  }

  /** Show the number of faces, or a text without faces; null shows the legend too. */
  private showFaceCount(text: string, count: number | null): void {
    setText(this.hint, text);
    this.hint.hidden = Boolean(count);
    byId('legend', HTMLElement).hidden = count !== null;
    setText(byId('faces-count', HTMLElement), count ? String(count) : '');
  }

  private isDue(update: keyof typeof INTERVALS_MS, now_ms: number): boolean {
    if (now_ms < this.nextUpdates_ms[update]) return false;
    const isCalm = update === 'timelines' && this.reducedMotion.matches;
    this.nextUpdates_ms[update] = now_ms + (isCalm ? CALM_TIMELINES_MS : INTERVALS_MS[update]);
    return true;
  }
}
