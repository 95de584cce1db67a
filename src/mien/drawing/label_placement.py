"""Where the panels of an annotated image go: beside their faces, over no face and no other panel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.geometry import bbox_area

GRID = 12
"""Positions a row and column that are tried across the image, besides those next to the face."""
FACE_COST, HEAD_COST, PANEL_COST = 8.0, 2.0, 20.0
"""What covering one panel's area of faces, of heads or of panels costs, in panel widths of distance."""
ORDER_COST = 0.004
"""What taking the next candidate instead of one before it costs, in panel widths."""
HEAD = np.array([-0.2, -0.4, 0.2, 0.1])
"""How far a head reaches beyond its face's box: left, top, right, bottom in sides of the box."""


@dataclass(frozen=True)
class Placement:
    """Panels, one for each face that wants one, in their order.

    Attributes:
        boxes_xyxy: (N, 4) whole pixels.
        covered: the largest share of a panel over faces or other panels, 0..1; 1 when panels are too large.
        distance: the largest gap between a panel and its face's head, in panel widths.
    """

    boxes_xyxy: np.ndarray
    covered: float
    distance: float


def place_panels(
    size_wh: tuple[int, int],
    faces_xyxy: np.ndarray,
    wanted: Sequence[int],
    panel_wh: tuple[int, int],
    gap: int,
    most_covered: float = math.inf,
) -> Placement:
    """Find a place for a panel of the same size beside the wanted faces, the first face first.

    Args:
        size_wh: of the image.
        faces_xyxy: (N, 4), inside the image; none of them should be covered.
        wanted: indices of the faces that get a panel.
        panel_wh: of every panel.
        gap: wanted between a panel and the head, and least distance to the border, in pixels.
        most_covered: give up as soon as a panel must be covered more than this; the rest gets no place.
    """
    panels = np.empty((0, 4))
    heads = head_boxes(faces_xyxy)
    grown = np.array([-gap, -gap, gap, gap])
    covered = distance = 0.0
    for head in heads[list(wanted)]:
        candidates = _candidates(size_wh, head, panel_wh, gap)
        over_faces = _covered_share(candidates, faces_xyxy)
        over_panels = _covered_share(candidates, panels + grown)
        away = (panel_distances(candidates, head) - gap).clip(min=0) / panel_wh[0]
        cost = FACE_COST * over_faces + PANEL_COST * over_panels + away
        cost += HEAD_COST * _covered_share(candidates, heads) + ORDER_COST * np.arange(len(candidates))
        best = int(cost.argmin())
        panels = np.vstack([panels, candidates[best]])
        covered = max(covered, float(over_faces[best] + over_panels[best]))
        distance = max(distance, float(away[best]))
        if covered > most_covered:
            break
    if panel_wh[0] > size_wh[0] or panel_wh[1] > size_wh[1]:
        covered = 1.0
    return Placement(panels.astype(int), covered, distance)


def head_boxes(faces_xyxy: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) of the heads, hair and ears included, around the boxes (N, 4) of their faces."""
    return faces_xyxy + HEAD * np.tile(faces_xyxy[:, 2:] - faces_xyxy[:, :2], 2)


def _candidates(
    size_wh: tuple[int, int], head: np.ndarray, panel_wh: tuple[int, int], gap: int
) -> np.ndarray:
    """Boxes (K, 4) inside the image, the best looking first: beside the head; a flat panel under it."""
    (width, height), (wide, high) = size_wh, panel_wh
    left, top, right, bottom = head
    shares = np.array([0.5, 0.25, 0.75, 0.0, 1.0])
    beside_y, beside_x = top + (bottom - top - high) * shares, left + (right - left - wide) * shares
    x, y = np.meshgrid(np.linspace(0, width - wide, GRID), np.linspace(0, height - high, GRID))
    to_sides = [
        np.column_stack([np.full(5, right + gap), beside_y]),
        np.column_stack([np.full(5, left - gap - wide), beside_y]),
    ]
    over_and_under = [
        np.column_stack([beside_x, np.full(5, bottom + gap)]),
        np.column_stack([beside_x, np.full(5, top - gap - high)]),
    ]
    near = over_and_under + to_sides if wide > 2 * high else to_sides + over_and_under
    corners = np.concatenate([*near, np.column_stack([x.ravel(), y.ravel()])])
    limit = np.maximum([width - wide - gap, height - high - gap], 0)
    corners = np.clip(corners, np.minimum(gap, limit), limit).round()
    return np.column_stack([corners, corners + panel_wh])


def _covered_share(candidates: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Share (K,) of each candidate that the boxes cover, each box counted for itself."""
    left, top, right, bottom = candidates.T[:, :, None]
    wide = (np.minimum(right, boxes[:, 2]) - np.maximum(left, boxes[:, 0])).clip(min=0)
    high = (np.minimum(bottom, boxes[:, 3]) - np.maximum(top, boxes[:, 1])).clip(min=0)
    return (wide * high).sum(axis=1) / bbox_area(candidates)


def panel_distances(panels_xyxy: np.ndarray, head_xyxy: np.ndarray) -> np.ndarray:
    """Gap (K,) in pixels between each panel (K, 4) and a head (4,); 0 where they touch."""
    gaps = np.maximum(panels_xyxy[:, :2] - head_xyxy[2:], head_xyxy[:2] - panels_xyxy[:, 2:]).clip(min=0)
    return np.hypot(gaps[:, 0], gaps[:, 1])
