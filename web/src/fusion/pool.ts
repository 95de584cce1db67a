/** Log-linear pool of class distributions, and how much two of them disagree: port of `mien/fusion/pooling.py`. */

/** Probabilities of the classes; NaN for a class that a model lacks. */
export type Distribution = readonly number[];

/** Smallest probability that counts, so that a rounded 0 of one model does not veto a class. */
const MIN_PROBABILITY = 1e-6;

/** Return the normalized, weighted geometric mean of distributions; a class that no row with a weight has gets 0. */
export function logLinearPool(distributions: readonly Distribution[], weights: readonly number[]): number[] {
  const kept = weights.flatMap((weight, index) => (weight > 0 ? [{ weight, row: distributions[index] }] : []));
  if (kept.length === 1) return kept[0].row.map((value) => (Number.isNaN(value) ? 0 : value));
  const rows = kept.map(({ row }) => row);
  const shared = sharedClasses(rows);
  const complete = kept.filter(({ row }) => !row.some(Number.isNaN));
  const pooled = complete.length > 0 ? geometricMean(complete) : rows[0].map(() => 0);
  const share = complete.length > 0 ? shared.reduce((sum, index) => sum + pooled[index], 0) : 1;
  const within = geometricMean(kept.map(({ weight, row }) => ({ weight, row: shared.map((index) => row[index]) })));
  shared.forEach((index, position) => {
    pooled[index] = share * within[position];
  });
  return pooled;
}

/**
 * Return the Jensen-Shannon divergence in bits within the classes that both have: 0 (equal) to 1. The other classes of
 * the voice, which have the probability 1 - `share`, count as agreement.
 */
export function conflict(face: Distribution, voice: Distribution, share = 1): number {
  const shared = sharedClasses([face, voice]);
  const [first, second] = [face, voice].map((row) =>
    normalize(shared.map((index) => Math.max(row[index], MIN_PROBABILITY ** 2))),
  );
  const bits = first.reduce((sum, value, index) => {
    const middle = (value + second[index]) / 2;
    return sum + 0.5 * (value * Math.log2(value / middle) + second[index] * Math.log2(second[index] / middle));
  }, 0);
  return share * Math.min(Math.max(bits, 0), 1);
}

/** Return the indices of the classes that all rows have. */
function sharedClasses(rows: readonly Distribution[]): number[] {
  return rows[0].flatMap((_, index) => (rows.some((row) => Number.isNaN(row[index])) ? [] : [index]));
}

function geometricMean(rows: readonly { weight: number; row: Distribution }[]): number[] {
  const total = rows.reduce((sum, { weight }) => sum + weight, 0);
  const logarithms = rows[0].row.map((_, index) =>
    rows.reduce((sum, { weight, row }) => sum + (weight / total) * Math.log(Math.max(row[index], MIN_PROBABILITY)), 0),
  );
  const max = Math.max(...logarithms);
  return normalize(logarithms.map((value) => Math.exp(value - max)));
}

function normalize(values: readonly number[]): number[] {
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}
