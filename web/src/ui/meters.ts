/** Probabilities of the classes, as accessible meters and as one stacked bar. */

import { create, setText } from './dom';
import { formatPercent } from './format';
import { labelColor } from './palette';

/** Probability below which no bar and no number are shown. */
const MIN_SHOWN = 0.005;
/** Probability from which a row is emphasized. */
const MIN_EMPHASIZED = 0.1;

interface Meter {
  root: HTMLElement;
  bar: HTMLElement;
  value: HTMLElement;
}

/** One row per class: name, bar and percentage. */
export class Meters {
  readonly root = create('div', 'meters');
  private readonly meters = new Map<string, Meter>();

  update(probabilities: Readonly<Record<string, number>>): void {
    for (const [label, probability] of Object.entries(probabilities)) {
      const meter = this.meters.get(label) ?? this.addMeter(label);
      const text = formatPercent(probability);
      const isShown = probability >= MIN_SHOWN;
      meter.root.setAttribute('aria-valuenow', (100 * probability).toFixed(1));
      meter.root.setAttribute('aria-valuetext', text);
      meter.root.classList.toggle('strong', probability >= MIN_EMPHASIZED);
      meter.bar.style.setProperty('--probability', isShown ? probability.toFixed(4) : '0');
      setText(meter.value, isShown ? text : '');
    }
  }

  private addMeter(label: string): Meter {
    const bar = create('span', 'fill');
    const value = create('span', 'value');
    const root = create('div', 'meter', create('span', 'name', label), create('span', 'lane', bar), value);
    root.setAttribute('role', 'meter');
    root.setAttribute('aria-label', label);
    root.setAttribute('aria-valuemin', '0');
    root.setAttribute('aria-valuemax', '100');
    root.style.setProperty('--class-color', labelColor(label));
    this.root.append(root);
    const meter = { root, bar, value };
    this.meters.set(label, meter);
    return meter;
  }
}

/** All probabilities as segments of one bar, hidden from assistive technology. */
export class StackedBar {
  readonly root = create('span', 'stacked-bar');
  private readonly segments = new Map<string, HTMLElement>();

  constructor() {
    this.root.setAttribute('aria-hidden', 'true');
  }

  update(probabilities: Readonly<Record<string, number>>): void {
    for (const [label, probability] of Object.entries(probabilities)) {
      const segment = this.segments.get(label) ?? this.addSegment(label);
      segment.style.setProperty('--probability', probability.toFixed(4));
    }
  }

  private addSegment(label: string): HTMLElement {
    const segment = create('i');
    segment.style.setProperty('--class-color', labelColor(label));
    this.root.append(segment);
    this.segments.set(label, segment);
    return segment;
  }
}
