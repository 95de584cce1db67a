/** Where a face's card goes: beside its face, over no face and no other card. */

import type { Box } from './canvas';

/** A card may lie over other faces and cards with this share of its area; otherwise it is left out. */
const MOST_COVERED = 0.05;
/** Positions a row and column that are tried across the picture when no place beside the face is free. */
const GRID = 12;
/** A card is at most this far from its face, in card widths. */
const MOST_AWAY = 1.5;
const HEAD = { left: 0.12, top: 0.3, right: 0.12, bottom: 0.08 };

export interface Size {
  wide: number;
  high: number;
}

/** The share of a box that another covers. */
export function coveredShare(box: Box, by: Box): number {
  const wide = Math.min(box.x + box.wide, by.x + by.wide) - Math.max(box.x, by.x);
  const high = Math.min(box.y + box.high, by.y + by.high) - Math.max(box.y, by.y);
  return (Math.max(0, wide) * Math.max(0, high)) / (box.wide * box.high);
}

/**
 * The place of a card, or null where there is none.
 *
 * @param size of the card.
 * @param face the box that it belongs to.
 * @param inside where it must stay.
 * @param taken all faces' boxes and the cards placed before.
 * @param far whether it may stand away from the face.
 * @param last which candidate was taken last time, so that a card stays where it is while it can.
 */
export function placeCard(
  size: Size,
  face: Box,
  inside: Box,
  taken: readonly Box[],
  far: boolean,
  last: number,
): { box: Box; choice: number } | null {
  const places = [...beside(size, face), ...(far ? grid(inside, face, size.wide) : [])].map(([x, y]) => ({
    x: clamp(x, inside.x + 4, inside.x + inside.wide - size.wide - 4),
    y: clamp(y, inside.y + 4, inside.y + inside.high - size.high - 4),
    ...size,
  }));
  const order = [last, ...places.keys()].filter((choice) => choice in places);
  for (const choice of order) {
    const box = places[choice];
    const covered = taken.reduce((sum, other) => sum + coveredShare(box, other), 0);
    if (covered <= MOST_COVERED) return { box, choice };
  }
  return null;
}

/** Corners next to the face, the best looking first: a flat card under it, a tall one at its side. */
function beside({ wide, high }: Size, face: Box): [number, number][] {
  const gap = 8;
  const left = face.x - HEAD.left * face.wide - gap - wide;
  const right = face.x + (1 + HEAD.right) * face.wide + gap;
  const above = face.y - HEAD.top * face.high - gap - high;
  const below = face.y + (1 + HEAD.bottom) * face.high + gap;
  const centre = face.x + (face.wide - wide) / 2;
  const middle = face.y + (face.high - high) / 2;
  const end_x = face.x + face.wide - wide;
  const flat: [number, number][] = [
    [centre, below],
    [face.x, below],
    [end_x, below],
    [centre, above],
    [right, middle],
    [left, middle],
  ];
  const tall: [number, number][] = [
    [right, middle],
    [left, middle],
    [right, face.y + face.high - high],
    [left, face.y + face.high - high],
    [centre, below],
    [centre, above],
  ];
  return wide > 2 * high ? flat : tall;
}

/** Corners across the picture, the nearest to the face first; those that are too far away are left out. */
function grid(inside: Box, face: Box, wide: number): [number, number][] {
  const corners: [number, number][] = [];
  for (let row = 0; row <= GRID; row++) {
    for (let column = 0; column <= GRID; column++) {
      corners.push([inside.x + (inside.wide * column) / GRID, inside.y + (inside.high * row) / GRID]);
    }
  }
  const away = ([x, y]: [number, number]) => Math.hypot(x + wide / 2 - face.x - face.wide / 2, y - face.y - face.high / 2);
  const limit = MOST_AWAY * wide + face.wide / 2;
  return corners.filter((corner) => away(corner) <= limit).sort((a, b) => away(a) - away(b));
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(value, most));
}
