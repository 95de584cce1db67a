"""Greedy suppression of duplicate boxes with static shapes."""

import torch
from torch import Tensor

from mien.faces.detection import MAX_CONTAINMENT, MAX_FRAGMENT_RATIO

ITERATIONS = 12
"""Number of iterations; exact while no box depends on a chain of more than as many overlapping boxes."""


def box_areas(bbox_xyxy: Tensor) -> Tensor:
    """Return the areas (N,) of boxes (N, 4); an empty or inverted box has area 0."""
    sides = (bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def duplicates(a_xyxy: Tensor, b_xyxy: Tensor, max_iou: float, max_area_ratio: float | None = None) -> Tensor:
    """Return (N, M) whether boxes (N, 4) show the same face as boxes (M, 4), or a fragment of it.

    Source:
        `mien.geometry.duplicates`.
    """
    low = torch.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = torch.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    a_area, b_area = box_areas(a_xyxy)[:, None], box_areas(b_xyxy)[None]
    is_fragment = intersection > MAX_CONTAINMENT * a_area
    if max_area_ratio is not None:
        is_fragment = is_fragment & (b_area <= a_area * max_area_ratio)
    return (intersection > max_iou * (a_area + b_area - intersection)) | is_fragment


def suppress(bbox_xyxy: Tensor, is_candidate: Tensor, max_iou: float) -> Tensor:
    """Return (N,) which boxes remain.

    A box remains unless a remaining, more confident box has the same face. Starting from all candidates, every
    iteration applies this rule to all boxes at once: iteration t is final for boxes behind t - 1 others in a chain.

    Args:
        bbox_xyxy: (N, 4), most confident first.
        is_candidate: (N,) whether a box counts.
        max_iou: IoU with a more confident box above which a box is dropped.

    Source:
        `mien.geometry.non_maximum_suppression`, with the constants of `mien.faces.detection`.
    """
    count = bbox_xyxy.shape[0]
    is_stronger = torch.ones(count, count).tril(diagonal=-1)
    drops = duplicates(bbox_xyxy, bbox_xyxy, max_iou, MAX_FRAGMENT_RATIO).float() * is_stronger
    candidates = is_candidate.float()
    survivors = candidates
    for _ in range(ITERATIONS):
        survivors = candidates * ((drops @ survivors) < 0.5).float()
    return survivors > 0.5
