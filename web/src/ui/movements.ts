/** The strongest action units of a face, as accessible meters. */

import type { Face } from '../backend';
import { ACTION_UNITS } from '../generated/actionUnits';
import { create, setText } from './dom';

/** Number of units shown. */
const SHOWN = 5;

/** An action unit, the mean of both sides: "AU12", "lip corner puller", 0..1. */
export interface Unit {
  name: string;
  description: string;
  intensity: number;
}

/** Return the strongest action units of a face in descending order; smoothed ones in video, none without estimates. */
export function strongestUnits({ action_units, smoothed_action_units }: Face): Unit[] {
  const intensities = smoothed_action_units ?? action_units ?? {};
  return Object.entries(ACTION_UNITS)
    .filter(([name]) => name in intensities)
    .map(([name, description]) => ({ name, description, intensity: intensities[name] }))
    .sort((first, second) => second.intensity - first.intensity)
    .slice(0, SHOWN);
}

/** A titled list of meters, hidden without estimates. */
export class Movements {
  readonly root = create('div', 'movements', create('h4', '', 'Action units, estimated from the face mesh'));
  private readonly rows = Array.from({ length: SHOWN }, () => {
    const name = create('span', 'name');
    const bar = create('span', 'fill');
    const value = create('span', 'value');
    const root = create('div', 'meter', name, create('span', 'lane', bar), value);
    root.setAttribute('role', 'meter');
    root.setAttribute('aria-valuemin', '0');
    root.setAttribute('aria-valuemax', '1');
    return { root, name, bar, value };
  });

  constructor() {
    this.root.hidden = true;
    this.root.append(...this.rows.map(({ root }) => root));
  }

  update(face: Face): void {
    const units = strongestUnits(face);
    this.root.hidden = units.length === 0;
    for (const [index, { name, description, intensity }] of units.entries()) {
      const row = this.rows[index];
      const text = `${name} ${description}`;
      row.root.setAttribute('aria-label', text);
      row.root.setAttribute('aria-valuenow', intensity.toFixed(2));
      row.bar.style.setProperty('--probability', intensity.toFixed(4));
      setText(row.name, text);
      setText(row.value, intensity.toFixed(2));
    }
  }
}
