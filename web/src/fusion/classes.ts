/** Classes of a voice model as classes of a face model: port of `mien/fusion/classes.py`. */

import type { Distribution } from './pool';

/** Classes of voices that count as a class of faces. */
const MERGED: Readonly<Record<string, string>> = { calm: 'neutral' };

/**
 * Return the distribution of a voice over the classes of faces, NaN for those that it lacks, and the probability that it
 * is made of: classes that faces lack are left out.
 */
export function toFaceClasses(
  probabilities: Readonly<Record<string, number>>,
  classes: readonly string[],
): { distribution: Distribution; share: number } {
  const totals = new Map(classes.map((name) => [name, NaN]));
  for (const [label, probability] of Object.entries(probabilities)) {
    const name = totals.has(label) ? label : (MERGED[label] ?? label);
    const total = totals.get(name);
    if (total !== undefined) totals.set(name, (total || 0) + probability);
  }
  const values = [...totals.values()];
  const share = values.reduce((sum, value) => sum + (value || 0), 0);
  return { distribution: values.map((value) => (share > 0 ? value / share : NaN)), share: Math.min(share, 1) };
}
