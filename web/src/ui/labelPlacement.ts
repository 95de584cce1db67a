/** Placement of labels next to faces, without overlaps. */

import type { Box } from './canvas';

/** Maximum fraction of a label's area that may cover faces and other labels. */
const MAX_OVERLAP = 0.05;
/** Rows and columns of candidate positions across the image. */
const GRID = 12;
/** Maximum distance of a label from its face, in label widths. */
const MAX_DISTANCE = 1.5;
/** Gap between label and head, in pixels. */
const GAP_PX = 8;
/** Minimum distance from the image border, in pixels. */
const BORDER_PX = 4;
/** Extent of the head beyond the face's box, relative to its size. */
const HEAD = { left: 0.12, top: 0.3, right: 0.12, bottom: 0.08 };

export interface Size {
  width: number;
  height: number;
}

/** Return the fraction of a box that another box covers. */
function overlap(box: Box, other: Box): number {
  const width = Math.min(box.x + box.width, other.x + other.width) - Math.max(box.x, other.x);
  const height = Math.min(box.y + box.height, other.y + other.height) - Math.max(box.y, other.y);
  return (Math.max(0, width) * Math.max(0, height)) / (box.width * box.height);
}

/**
 * Return the position of a label, or null when none is free.
 *
 * @param size of the label.
 * @param face box that the label belongs to.
 * @param bounds area that must contain the label.
 * @param occupied boxes of all faces and of the labels placed before.
 * @param allowDistant whether the label may be away from its face.
 * @param lastChoice index of the previous candidate, tried first to keep labels stable.
 */
export function placeLabel(
  size: Size,
  face: Box,
  bounds: Box,
  occupied: readonly Box[],
  allowDistant: boolean,
  lastChoice: number,
): { box: Box; choice: number } | null {
  const corners = [...adjacentCorners(size, face), ...(allowDistant ? gridCorners(bounds, face, size.width) : [])];
  const candidates = corners.map(([x, y]) => ({
    x: clamp(x, bounds.x + BORDER_PX, bounds.x + bounds.width - size.width - BORDER_PX),
    y: clamp(y, bounds.y + BORDER_PX, bounds.y + bounds.height - size.height - BORDER_PX),
    ...size,
  }));
  const choices = [lastChoice, ...candidates.keys()].filter((choice) => choice in candidates);
  for (const choice of choices) {
    const box = candidates[choice];
    const covered = occupied.reduce((sum, other) => sum + overlap(box, other), 0);
    if (covered <= MAX_OVERLAP) return { box, choice };
  }
  return null;
}

/** Return corners next to the face in order of preference: below for a flat label, beside for a tall one. */
function adjacentCorners({ width, height }: Size, face: Box): [number, number][] {
  const left = face.x - HEAD.left * face.width - GAP_PX - width;
  const right = face.x + (1 + HEAD.right) * face.width + GAP_PX;
  const above = face.y - HEAD.top * face.height - GAP_PX - height;
  const below = face.y + (1 + HEAD.bottom) * face.height + GAP_PX;
  const center = face.x + (face.width - width) / 2;
  const middle = face.y + (face.height - height) / 2;
  const endX = face.x + face.width - width;
  const endY = face.y + face.height - height;
  const flat: [number, number][] = [
    [center, below],
    [face.x, below],
    [endX, below],
    [center, above],
    [right, middle],
    [left, middle],
  ];
  const tall: [number, number][] = [
    [right, middle],
    [left, middle],
    [right, endY],
    [left, endY],
    [center, below],
    [center, above],
  ];
  return width > 2 * height ? flat : tall;
}

/** Return corners across the image within the maximum distance, nearest to the face first. */
function gridCorners(bounds: Box, face: Box, width: number): [number, number][] {
  const corners: [number, number][] = [];
  for (let row = 0; row <= GRID; row++) {
    for (let column = 0; column <= GRID; column++) {
      corners.push([bounds.x + (bounds.width * column) / GRID, bounds.y + (bounds.height * row) / GRID]);
    }
  }
  const distance = ([x, y]: [number, number]) =>
    Math.hypot(x + width / 2 - face.x - face.width / 2, y - face.y - face.height / 2);
  const limit = MAX_DISTANCE * width + face.width / 2;
  return corners.filter((corner) => distance(corner) <= limit).sort((a, b) => distance(a) - distance(b));
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(value, max));
}
