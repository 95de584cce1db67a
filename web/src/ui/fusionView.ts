/** Distributions of face, voice and both together for the last segment of speech. */

import { MAX_CONFLICT } from '../fusion/reliability';
import type { FusedTurn } from '../fusion/turn';
import { create, setText } from './dom';
import { formatPercent } from './format';
import { StackedBar } from './meters';

const ROWS = [
  ['face', 'Face'],
  ['voice', 'Voice'],
  ['pooled', 'Together'],
] as const;

export class FusionView {
  readonly root = create('div', 'fusion');
  private readonly list = create('dl');
  private readonly note = create('p', 'hint');
  private readonly rows = ROWS.map(([key, name]) => {
    const row = { key, bar: new StackedBar(), text: create('span') };
    this.list.append(
      create('div', key === 'pooled' ? 'pooled' : '', create('dt', '', name), create('dd', '', row.text, row.bar.root)),
    );
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
      const label = turn.labels[key];
      setText(text, label === null ? 'not sure' : `${label} ${formatPercent(turn[key][label])}`);
      bar.update(turn[key]);
    }
    setText(this.note, describeConflict(turn.conflict));
  }
}

function describeConflict(conflict: number | null): string {
  if (conflict === null) return 'Face and voice have no class in common.';
  return `Face and voice ${conflict < MAX_CONFLICT ? 'agree' : 'disagree'}: conflict ${conflict.toFixed(2)} of 1.`;
}
