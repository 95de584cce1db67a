/** Class and overlay colors from the package's theme (`mien/theme.json`). */

import theme from '../../../src/mien/theme.json';

const CLASS_COLORS: Readonly<Record<string, string>> = { ...theme.voice_classes, ...theme.classes };

/** Colors of text and cards drawn over an image, as #rrggbb. */
export const OVERLAY_COLORS = theme.overlay;
/** Colors of the head's axes: left, up and out of the face. */
export const AXIS_COLORS = [theme.overlay.axis_left, theme.overlay.axis_up, theme.overlay.axis_out];

/** Return the color of a label as #rrggbb; gray for null and for an unknown label. */
export function labelColor(label: string | null): string {
  return (label !== null && CLASS_COLORS[label]) || theme.other_class;
}

/** Add an opacity, 0..1, to a color #rrggbb. */
export function withOpacity(color: string, opacity: number): string {
  return `${color}${Math.round(255 * opacity)
    .toString(16)
    .padStart(2, '0')}`;
}

/** Mix a color #rrggbb with a fraction of white, for readable text on a dark card. */
export function tint(color: string, fraction: number): string {
  const channels = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return `rgb(${channels.map((value) => Math.round(value + (255 - value) * fraction)).join(' ')})`;
}
