"""Placement of the panels of an annotated image next to their faces, without covering faces or other panels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.geometry import bbox_area

GRID = 12
"""Number of candidate positions per row and column of the image, besides those next to the face."""
FACE_COST = 8.0
HEAD_COST = 2.0
PANEL_COST = 20.0
"""Cost of covering faces, heads or other panels by the area of one panel, in panel widths of distance."""
ORDER_COST = 0.004
"""Cost of each step down in the order of the candidates, in panel widths of distance."""
HEAD = np.array([-0.2, -0.4, 0.2, 0.1])
"""Extent of a head beyond its face's box: left, top, right and bottom in sides of the box."""


@dataclass(frozen=True)
class Placement:
    """Positions of the panels, in the order of their faces.

    Attributes:
        boxes_xyxy: (N, 4) whole pixels.
        covered: largest share of a panel over faces or other panels, 0..1; 1 when panels are larger than the image.
        distance: largest gap between a panel and its face's head, in panel widths.
    """

    boxes_xyxy: np.ndarray
    covered: float
    distance: float


def place_panels(
    size_wh: tuple[int, int],
    faces_xyxy: np.ndarray,
    indices: Sequence[int],
    panel_wh: tuple[int, int],
    gap: int,
    max_covered: float = math.inf,
) -> Placement:
    """Place a panel of equal size next to each of some faces, one face after the other.

    Args:
        size_wh: width and height of the image.
        faces_xyxy: (N, 4) boxes of all faces, inside the image; panels avoid them.
        indices: indices of the faces that get a panel.
        panel_wh: width and height of every panel.
        gap: distance between a panel and the head, and minimum distance to the border, in pixels.
        max_covered: stop as soon as a panel is covered by more than this share; the remaining faces get no panel.
    """
    panels = np.empty((0, 4))
    heads = head_boxes(faces_xyxy)
    margin = np.array([-gap, -gap, gap, gap])
    covered = distance = 0.0
    for head in heads[list(indices)]:
        candidates = _candidates(size_wh, head, panel_wh, gap)
        over_faces = _covered_share(candidates, faces_xyxy)
        over_panels = _covered_share(candidates, panels + margin)
        gaps = (panel_distances(candidates, head) - gap).clip(min=0) / panel_wh[0]
        cost = FACE_COST * over_faces + PANEL_COST * over_panels + gaps
        cost += HEAD_COST * _covered_share(candidates, heads) + ORDER_COST * np.arange(len(candidates))
        best = int(cost.argmin())
        panels = np.vstack([panels, candidates[best]])
        covered = max(covered, float(over_faces[best] + over_panels[best]))
        distance = max(distance, float(gaps[best]))
        if covered > max_covered:
            break
    if panel_wh[0] > size_wh[0] or panel_wh[1] > size_wh[1]:
        covered = 1.0
    return Placement(panels.astype(int), covered, distance)


def head_boxes(faces_xyxy: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) of heads, with hair and ears, from boxes (N, 4) of faces."""
    return faces_xyxy + HEAD * np.tile(faces_xyxy[:, 2:] - faces_xyxy[:, :2], 2)


def panel_distances(panels_xyxy: np.ndarray, head_xyxy: np.ndarray) -> np.ndarray:
    """Return the gap (K,) in pixels between each panel (K, 4) and a head (4,); 0 where they touch."""
    gaps = np.maximum(panels_xyxy[:, :2] - head_xyxy[2:], head_xyxy[:2] - panels_xyxy[:, 2:]).clip(min=0)
    return np.hypot(gaps[:, 0], gaps[:, 1])


def _candidates(size_wh: tuple[int, int], head: np.ndarray, panel_wh: tuple[int, int], gap: int) -> np.ndarray:
    """Return candidate boxes (K, 4) inside the image by preference: beside the head, or below it for a flat panel."""
    width, height = size_wh
    panel_width, panel_height = panel_wh
    left, top, right, bottom = head
    shares = np.array([0.5, 0.25, 0.75, 0.0, 1.0])
    y = top + (bottom - top - panel_height) * shares
    x = left + (right - left - panel_width) * shares
    beside = [np.column_stack([np.full(5, right + gap), y]), np.column_stack([np.full(5, left - gap - panel_width), y])]
    above_and_below = [
        np.column_stack([x, np.full(5, bottom + gap)]),
        np.column_stack([x, np.full(5, top - gap - panel_height)]),
    ]
    near = above_and_below + beside if panel_width > 2 * panel_height else beside + above_and_below
    x, y = np.meshgrid(np.linspace(0, width - panel_width, GRID), np.linspace(0, height - panel_height, GRID))
    corners = np.concatenate([*near, np.column_stack([x.ravel(), y.ravel()])])
    limit = np.maximum([width - panel_width - gap, height - panel_height - gap], 0)
    corners = np.clip(corners, np.minimum(gap, limit), limit).round()
    return np.column_stack([corners, corners + panel_wh])


def _covered_share(candidates: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the share (K,) of each candidate that the boxes cover; overlapping boxes count separately."""
    left, top, right, bottom = candidates.T[:, :, None]
    widths = (np.minimum(right, boxes[:, 2]) - np.maximum(left, boxes[:, 0])).clip(min=0)
    heights = (np.minimum(bottom, boxes[:, 3]) - np.maximum(top, boxes[:, 1])).clip(min=0)
    return (widths * heights).sum(axis=1) / bbox_area(candidates)
