/** Distributions of face, voice and both together for the last segment of speech. */

import type { FusedTurn } from '../fusion/turn';
import { create, setText } from './dom';
import { formatPercent } from './format';
import { StackedBar } from './meters';

/** Conflict from which face and voice are said to disagree. */
const MIN_CONFLICT = 0.5;
const ROWS = [
  ['face', 'Face'],
  ['voice', 'Voice'],
  ['fused', 'Together'],
] as const;

export class FusionView {
  readonly root = create('div', 'fusion');
  private readonly list = create('dl');
  private readonly note = create('p', 'hint');
  private readonly rows = ROWS.map(([key, name]) => {
    const row = { key, bar: new StackedBar(), text: create('span') };
    this.list.append(create('div', key, create('dt', '', name), create('dd', '', row.text, row.bar.root)));
    return row;
  });

  constructor() {
    const title = create('h3', '', 'Face and voice, last segment ', create('span', 'tag', 'experimental'));
    this.root.append(title, this.list, this.note);
    this.clear();
  }

  clear(): void {
    this.root.hidden = true;
  }

  /** Show the fusion, or the reason why there is none. */
  show(turn: FusedTurn | string): void {
    this.root.hidden = false;
    this.list.hidden = typeof turn === 'string';
    if (typeof turn === 'string') {
      setText(this.note, turn);
      return;
    }
    for (const { key, bar, text } of this.rows) {
      const [label, probability] = Object.entries(turn[key]).reduce((best, each) => (each[1] > best[1] ? each : best));
      setText(text, `${label} ${formatPercent(probability)}`);
      bar.update(turn[key]);
    }
    setText(this.note, formatConflict(turn.conflict));
  }
}

/** "Face and voice disagree: conflict 0.83 of 1." */
function formatConflict(conflict: number): string {
  const verb = conflict >= MIN_CONFLICT ? 'disagree' : 'agree';
  return `Face and voice ${verb}: conflict ${conflict.toFixed(2)} of 1.`;
}
