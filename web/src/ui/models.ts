/** Which models there are, and what each tells about itself. */

import { make } from './elements';
import { labelColour } from './palette';
import { percent } from './words';

/** What the page shows of a manifest (`mien/manifest.py`). */
export interface ModelCard {
  name: string;
  version: string;
  labels: string[];
  license: string;
  trained_on: { name: string; license: string }[];
  metrics: Record<string, { majority?: { n: number; accuracy: number; balanced_accuracy: number } }>;
  abstain_below: number;
}

/** The names of the shipped models and the usual one. */
export async function listModels(): Promise<{ default: string; models: string[] }> {
  return fetchJson('models/index.json');
}

/** What a model tells about itself. */
export async function readModelCard(model: string): Promise<ModelCard> {
  return fetchJson(`models/${model}.json`);
}

async function fetchJson<T>(path: string): Promise<T> {
  const answer = await fetch(new URL(path, document.baseURI));
  if (!answer.ok) throw new Error(`${path} is missing beside this page (${answer.status}).`);
  return (await answer.json()) as T;
}

/** The labels of a model with their colours. */
export function showLegend(place: HTMLElement, card: ModelCard): void {
  place.replaceChildren(
    ...card.labels.map((label) => {
      const chip = make('i', 'chip');
      chip.style.setProperty('--colour', labelColour(label));
      return make('li', '', chip, label);
    }),
  );
}

/** The card as the page shows it. */
export function showModelCard(place: HTMLElement, model: string, card: ModelCard): void {
  const data = card.trained_on.map((set) => make('li', '', set.name, make('span', 'license', set.license)));
  place.replaceChildren(
    make('h3', '', `The model “${model}”`),
    make('p', '', `${card.name}, version ${card.version}. ${accuracyWords(card)}`),
    make('p', '', 'It was trained on:'),
    make('ul', 'data', ...data),
    make('p', '', `Its own license: ${card.license}.`),
  );
}

function accuracyWords(card: ModelCard): string {
  const unsure = `It says “not sure” below ${percent(card.abstain_below)}.`;
  const [set, measured] = Object.entries(card.metrics).find(([, found]) => found.majority) ?? ['', {}];
  if (!measured.majority) return unsure;
  const { n, accuracy, balanced_accuracy } = measured.majority;
  const right = `${(100 * accuracy).toFixed(1)}% right on ${n.toLocaleString('en')} faces of ${set}`;
  return `${right} (${(100 * balanced_accuracy).toFixed(1)}% when every expression counts alike). ${unsure}`;
}
