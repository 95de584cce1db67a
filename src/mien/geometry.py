"""Bounding boxes and affine transforms in numpy.

A transform is a (2, 3) matrix that maps source pixels to target pixels. Pixel centers are at integers + 0.5: an image
of width W spans 0..W, so that halving its size halves every coordinate.
"""

from __future__ import annotations

import math

import numpy as np

_SUPPRESSION_BLOCK = 128
"""Number of boxes that are compared at once; bounds memory."""


def bbox_area(bbox_xyxy: np.ndarray) -> np.ndarray:
    """Return the areas (...,) of boxes (..., 4); an empty or inverted box has area 0."""
    sides = np.clip(bbox_xyxy[..., 2:] - bbox_xyxy[..., :2], 0, None)
    return sides[..., 0] * sides[..., 1]


def bbox_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where both are empty."""
    intersection = _intersection_area(a_xyxy, b_xyxy)
    union = bbox_area(a_xyxy)[:, None] + bbox_area(b_xyxy)[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def bbox_containment(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the share (N, M) of the area of boxes (N, 4) inside boxes (M, 4); 0 where the first are empty."""
    intersection = _intersection_area(a_xyxy, b_xyxy)
    area = bbox_area(a_xyxy)[:, None]
    return np.divide(intersection, area, out=np.zeros_like(intersection), where=area > 0)


def _intersection_area(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    return bbox_area(np.concatenate([top_left, bottom_right], axis=-1))


def non_maximum_suppression(
    bbox_xyxy: np.ndarray,
    confidences: np.ndarray,
    max_iou: float,
    max_containment: float = 1.0,
    max_area_ratio: float = math.inf,
) -> np.ndarray:
    """Return the indices of the boxes that remain, most confident first.

    Args:
        bbox_xyxy: (N, 4).
        confidences: (N,).
        max_iou: IoU with a more confident box above which a box is dropped.
        max_containment: share of a box inside a more confident box above which it is dropped as a fragment.
        max_area_ratio: ratio of the two areas above which a contained box is not a fragment.
    """
    order = np.argsort(-confidences, kind="stable")
    boxes = bbox_xyxy[order]
    areas = bbox_area(boxes)
    stronger: list[np.ndarray] = [np.empty(0, dtype=np.intp)] * len(order)
    by_position = np.argsort(boxes[:, 0], kind="stable")
    # only boxes that overlap horizontally are compared: a crowd has tens of thousands
    for start in range(0, len(order), _SUPPRESSION_BLOCK):
        block = by_position[start : start + _SUPPRESSION_BLOCK]
        overlaps = (boxes[:, 0] < boxes[block, 2].max()) & (boxes[:, 2] > boxes[block, 0].min())
        near = np.flatnonzero(overlaps)
        is_contained = bbox_containment(boxes[block], boxes[near]) > max_containment
        is_fragment = is_contained & (areas[near][None] / max_area_ratio <= areas[block][:, None])
        is_redundant = (bbox_iou(boxes[block], boxes[near]) > max_iou) | is_fragment
        for index, row in zip(block, is_redundant, strict=True):
            stronger[index] = near[row & (near < index)]
    is_kept = np.zeros(len(order), dtype=bool)
    for index, others in enumerate(stronger):
        is_kept[index] = not is_kept[others].any()
    return order[is_kept]


def similarity_transform(source_xy: np.ndarray, target_xy: np.ndarray) -> np.ndarray:
    """Return the (2, 3) rotation, uniform scale and translation that best maps source to target points (N, 2).

    Least squares, without reflection. Coincident source points give a translation only.

    Source:
        Umeyama (1991), "Least-squares estimation of transformation parameters between two point patterns".
    """
    source_mean, target_mean = source_xy.mean(axis=0), target_xy.mean(axis=0)
    source, target = source_xy - source_mean, target_xy - target_mean
    variance = float((source**2).sum())
    if variance == 0:
        linear = np.eye(2)
    else:
        cos = float((source * target).sum()) / variance
        sin = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum()) / variance
        linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the (2, 3) transform that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def invert(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a (2, 3) transform."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def transform_points(matrix: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """Map points (..., 2) by a (2, 3) transform."""
    return points_xy @ matrix[:, :2].T + matrix[:, 2]
