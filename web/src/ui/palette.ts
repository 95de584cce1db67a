/** One colour an expression, the same as in mien's own pictures, plots and reports (`mien/emotions.py`). */

const COLOURS: Readonly<Record<string, string>> = {
  neutral: '#7f8c9b',
  happiness: '#e8a317',
  surprise: '#1fa3b8',
  sadness: '#3f6fd1',
  anger: '#d1403f',
  disgust: '#5d9b41',
  fear: '#8456c4',
  contempt: '#c05a92',
};
const OTHER = '#969ca8';

/** The colour of a label as #rrggbb; grey for none and for a name that is no expression. */
export function labelColour(label: string | null): string {
  return (label !== null && COLOURS[label]) || OTHER;
}

/** A colour #rrggbb, a share of the way to white: readable as text on a dark card. */
export function tint(colour: string, share: number): string {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgb(${parts.map((part) => Math.round(part + (255 - part) * share)).join(' ')})`;
}
