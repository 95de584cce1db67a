/** Panel of the voice: level, arousal, timeline, classes, and its fusion with the face. */

import type { FusedTurn } from '../fusion/turn';
import type { VoiceSegment, VoiceUpdate } from '../voice/analyzer';
import { byId, create, setText } from './dom';
import { formatArousal, formatPercent } from './format';
import { FusionView } from './fusionView';
import { Meters } from './meters';
import { labelColor } from './palette';
import { VoiceHistory } from './voiceHistory';
import { VoiceTimeline } from './voiceTimeline';

/** Lower end of the level meter. */
const MIN_LEVEL_DB = -60;
const DRAW_INTERVAL_MS = 120;
/** Drawing interval for users who prefer reduced motion. */
const CALM_DRAW_INTERVAL_MS = 1000;
/** Factor of the displayed level per block, by which it falls after a peak. */
const LEVEL_DECAY = 0.8;
/** Share of clipped samples of a segment from which its result is doubtful. */
const MAX_CLIPPED = 0.001;
const NOTE =
  'How the voice sounds to listeners, not what the speaker feels. The model of the classes was trained on ten German ' +
  'actors and nobody else. Sound stays on this device.';

export class VoicePanel {
  private readonly root = byId('voice', HTMLElement);
  private readonly status = byId('voice-status', HTMLElement);
  private readonly level = new Gauge('Level', { min: MIN_LEVEL_DB, max: 0 });
  private readonly arousal = new Gauge('Arousal', { min: -1, max: 1 });
  private readonly timeline = new VoiceTimeline();
  private readonly label = create('p', 'voice-label');
  private readonly meters = new Meters();
  private readonly classes: HTMLElement;
  private readonly warning = create('p', 'hint', 'The last segment is clipped: the microphone is too loud.');
  private readonly fusion = new FusionView();
  private history = new VoiceHistory();
  private timer = 0;
  private displayedLevel = 0;

  constructor() {
    const title = create('h3', '', 'Class of the last segment ', create('span', 'tag', 'experimental'));
    this.classes = create('div', 'voice-classes', title, this.label, this.meters.root);
    this.arousal.root.classList.add('arousal');
    byId('voice-card', HTMLElement).append(
      this.level.root,
      this.arousal.root,
      this.timeline.root,
      this.warning,
      this.classes,
      this.fusion.root,
      create('p', 'hint', NOTE),
    );
  }

  /** Show the empty panel and start to draw its timeline. */
  open(): void {
    this.history = new VoiceHistory();
    this.displayedLevel = 0;
    this.arousal.clear();
    for (const part of [this.classes, this.warning]) part.hidden = true;
    this.fusion.clear();
    this.root.hidden = false;
    const isCalm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    const draw = () => this.timeline.draw(this.history, performance.now() / 1000);
    draw();
    this.timer = window.setInterval(draw, isCalm ? CALM_DRAW_INTERVAL_MS : DRAW_INTERVAL_MS);
  }

  close(): void {
    clearInterval(this.timer);
    this.root.hidden = true;
  }

  showStatus(text: string): void {
    setText(this.status, text);
  }

  /** Show the level of a block of samples. */
  addBlock(samples: Float32Array): void {
    const peak = samples.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    this.history.addPeak(peak, performance.now() / 1000);
    this.displayedLevel = Math.max(peak, LEVEL_DECAY * this.displayedLevel);
    const level_db = Math.max(MIN_LEVEL_DB, 20 * Math.log10(Math.max(this.displayedLevel, 1e-9)));
    this.level.show(level_db, `${Math.round(level_db)} dB`.replace('-', '−'));
  }

  /** Show the progress of the recognition and the last segment. */
  add(update: VoiceUpdate): void {
    this.history.add(update, performance.now() / 1000);
    this.showStatus(update.speechStart_s === null ? 'listening' : 'speech');
    const segment = update.segments.at(-1);
    if (segment) this.showSegment(segment);
  }

  /** Show the fusion of the last segment with a face, or why there is none. */
  showFusion(turn: FusedTurn | string): void {
    this.fusion.show(turn);
  }

  clearFusion(): void {
    this.fusion.clear();
  }

  private showSegment({ arousal, label, confidence, probabilities, clipped }: VoiceSegment): void {
    this.arousal.show(arousal, formatArousal(arousal));
    this.label.style.setProperty('--class-color', labelColor(label));
    setText(this.label, label === null ? 'not sure' : `${label}, ${formatPercent(confidence)}`);
    this.label.classList.toggle('unsure', label === null);
    this.meters.update(probabilities);
    this.classes.hidden = false;
    this.warning.hidden = clipped <= MAX_CLIPPED;
  }
}

/** Meter of one number between two limits. */
class Gauge {
  readonly root: HTMLElement;
  private readonly fill = create('span', 'fill');
  private readonly value = create('span', 'value');

  constructor(
    name: string,
    private readonly limits: { min: number; max: number },
  ) {
    this.root = create('div', 'meter', create('span', 'name', name), create('span', 'lane', this.fill), this.value);
    this.root.setAttribute('role', 'meter');
    this.root.setAttribute('aria-label', name);
    this.root.setAttribute('aria-valuemin', String(limits.min));
    this.root.setAttribute('aria-valuemax', String(limits.max));
    this.clear();
  }

  show(value: number, text: string): void {
    const { min, max } = this.limits;
    this.root.setAttribute('aria-valuenow', value.toFixed(2));
    this.root.setAttribute('aria-valuetext', text);
    this.fill.style.setProperty('--probability', ((value - min) / (max - min)).toFixed(4));
    this.fill.hidden = false;
    setText(this.value, text);
  }

  clear(): void {
    this.root.setAttribute('aria-valuenow', String(this.limits.min));
    this.root.setAttribute('aria-valuetext', 'no value');
    this.fill.hidden = true;
    setText(this.value, '–');
  }
}
