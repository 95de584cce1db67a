/** Functions that the supported browsers lack; see docs/browser.md. */

import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const SOURCES = resolve(import.meta.dirname, '../src');
/** Newer than Chrome 111, Firefox 115 or Safari 16.4. The syntax is that of the build's target. */
const SCRIPTS = anyOf(
  /AbortSignal\.any|Promise\.try|RegExp\.escape|Response\.json|Iterator\.from/,
  /new (URLPattern|Float16Array)/,
  /\.(withResolvers|fromAsync|groupBy|canParse|toWellFormed|checkVisibility|showPopover|startViewTransition)\(/,
  /\.(keys|values|entries)\(\)\s*\.(map|filter|take|drop|some|every|find|reduce|toArray)\(/,
  /\.(union|intersection|difference|symmetricDifference|isSubsetOf|isSupersetOf|isDisjointFrom)\(/,
);
const STYLES = anyOf(
  /light-dark\(|:has\(|anchor\(|field-sizing|interpolate-size/,
  /@(starting-style|scope|container|property)/,
  // Nesting.
  /^\s+&/m,
);

function anyOf(...patterns: RegExp[]): RegExp {
  return new RegExp(patterns.map(({ source }) => source).join('|'), 'm');
}

function readSources(suffix: string): [string, string][] {
  const names = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(suffix));
  return names.map((name) => [name, readFileSync(resolve(SOURCES, name), 'utf8')]);
}

test.each([
  ['.ts', SCRIPTS],
  ['.css', STYLES],
])('no %s file uses what the supported browsers lack', (suffix, newer) => {
  const sources = readSources(suffix);
  expect(sources.length).toBeGreaterThan(5);
  const found = sources.filter(([, text]) => newer.test(text.replace(/\/\/.*/g, ''))).map(([name]) => name);
  expect(found).toEqual([]);
});
