/** Model list, model card and legend. */

import { downloadJson } from '../engine/download';
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

/** Contents of `models/index.json`: the names of the models, the default one, and the sizes of their files. */
export interface ModelIndex {
  default: string;
  models: string[];
  size_bytes?: Record<string, number>;
}

/** List the models next to the page. Rejects with a message for the user. */
export function listModels(): Promise<ModelIndex> {
  return downloadJson(new URL('models/index.json', document.baseURI));
}

/** Download a model's manifest; in schema 1 the key `license` has British spelling. Rejects with a message for the user. */
export function fetchModelCard(model: string): Promise<ModelCard> {
  const parse = (text: string) => JSON.parse(text.replace(/"licen[cs]e":/g, '"license":'));
  return downloadJson(new URL(`models/${model}.json`, document.baseURI), { parse });
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

/** "open: 83.6% accuracy". */
export function formatOption(name: string, card: ModelCard): string {
  const measured = mainMetric(card);
  return measured ? `${name}: ${percentWithTenths(measured.accuracy)} accuracy` : name;
}

/** Accuracy, size, training data and license in one line. */
export function formatSummary(card: ModelCard, size_bytes: number | undefined): string {
  const measured = mainMetric(card);
  const parts = [
    measured && `${percentWithTenths(measured.accuracy)} correct on ${measured.dataset}`,
    size_bytes && `${(size_bytes / 1e6).toFixed(1)} MB`,
    card.trained_on.length > 0 && `trained on ${card.trained_on.map(({ name }) => shorten(name)).join(', ')}`,
    `license: ${shorten(card.license)}`,
  ];
  const text = parts.filter(Boolean).join(' · ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function formatAccuracy(card: ModelCard): string {
  const abstention = `It answers “not sure” below ${formatPercent(card.abstain_below)} confidence.`;
  const measured = mainMetric(card);
  if (!measured) return abstention;
  const accuracy = `Accuracy ${percentWithTenths(measured.accuracy)}`;
  const balanced = `balanced accuracy ${percentWithTenths(measured.balanced_accuracy)}`;
  return `${accuracy}, ${balanced} on ${measured.n.toLocaleString('en')} faces of ${measured.dataset}. ${abstention}`;
}

/** The first metric against majority labels; null without one. */
function mainMetric(card: ModelCard) {
  for (const [dataset, { majority }] of Object.entries(card.metrics)) {
    if (majority) return { ...majority, dataset };
  }
  return null;
}

function percentWithTenths(fraction: number): string {
  return `${(100 * fraction).toFixed(1)}%`;
}

/** The part of a text before its first comma, semicolon or parenthesis; the model card has all of it. */
function shorten(text: string): string {
  return text.split(/[,;(]/)[0].trim();
}
