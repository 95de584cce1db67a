/** Model list, model card and legend. */

import { create } from './dom';
import { formatPercent } from './format';
import { labelColor } from './palette';

/** The fields of a manifest (`mien/manifest.py`) that the page displays. */
export interface ModelCard {
  version: string;
  labels: string[];
  license: string;
  trained_on: { name: string; license: string }[];
  metrics: Record<string, { majority?: { n: number; accuracy: number; balanced_accuracy: number } }>;
  abstain_below: number;
}

/** Return the names of the shipped models and the default one. */
export async function listModels(): Promise<{ default: string; models: string[] }> {
  return (await fetchFile('models/index.json')).json();
}

/** Fetch a model's manifest; in schema 1 the key `license` has British spelling. */
export async function fetchModelCard(model: string): Promise<ModelCard> {
  const text = await (await fetchFile(`models/${model}.json`)).text();
  return JSON.parse(text.replace(/"licen[cs]e":/g, '"license":'));
}

async function fetchFile(path: string): Promise<Response> {
  const response = await fetch(new URL(path, document.baseURI));
  if (!response.ok) throw new Error(`${path} could not be loaded: HTTP status ${response.status}.`);
  return response;
}

/** Show the labels of a model with their colors. */
export function showLegend(target: HTMLElement, card: ModelCard): void {
  target.replaceChildren(
    ...card.labels.map((label) => {
      const swatch = create('i', 'swatch');
      swatch.style.setProperty('--class-color', labelColor(label));
      return create('li', '', swatch, label);
    }),
  );
}

export function showModelCard(target: HTMLElement, model: string, card: ModelCard): void {
  const datasets = card.trained_on.map(({ name, license }) =>
    create('li', '', name, create('span', 'license', license)),
  );
  target.replaceChildren(
    create('h3', '', `The model “${model}”`),
    create('p', '', `Version ${card.version}. ${formatAccuracy(card)}`),
    create('p', '', 'Training data:'),
    create('ul', 'datasets', ...datasets),
    create('p', '', `Model license: ${card.license}.`),
  );
}

function formatAccuracy(card: ModelCard): string {
  const abstention = `It answers “not sure” below ${formatPercent(card.abstain_below)} confidence.`;
  for (const [dataset, { majority }] of Object.entries(card.metrics)) {
    if (!majority) continue;
    const accuracy = `Accuracy ${(100 * majority.accuracy).toFixed(1)}%`;
    const balanced = `balanced accuracy ${(100 * majority.balanced_accuracy).toFixed(1)}%`;
    return `${accuracy}, ${balanced} on ${majority.n.toLocaleString('en')} faces of ${dataset}. ${abstention}`;
  }
  return abstention;
}
