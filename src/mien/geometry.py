"""Bounding boxes and affine transforms in numpy.

A transform is a (2, 3) matrix that maps source pixels to target pixels. Pixel centers are at integers + 0.5: an image
of width W spans 0..W, so that halving its size halves every coordinate.
"""

from __future__ import annotations

import math

import numpy as np

_SUPPRESSION_BLOCK = 128
"""Number of boxes that are compared at once; bounds memory."""
_TO_COMPLEX = np.array([1, 1j])


def bbox_area(bbox_xyxy: np.ndarray) -> np.ndarray:
    """Return the areas (...,) of boxes (..., 4); an empty or inverted box has area 0."""
    sides = np.clip(bbox_xyxy[..., 2:] - bbox_xyxy[..., :2], 0, None)
    return sides[..., 0] * sides[..., 1]


def bbox_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where both are empty."""
    intersection = _intersection_area(a_xyxy, b_xyxy)
    union = bbox_area(a_xyxy)[:, None] + bbox_area(b_xyxy)[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _intersection_area(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    width = np.minimum(a_xyxy[:, None, 2], b_xyxy[:, 2]) - np.maximum(a_xyxy[:, None, 0], b_xyxy[:, 0])
    height = np.minimum(a_xyxy[:, None, 3], b_xyxy[:, 3]) - np.maximum(a_xyxy[:, None, 1], b_xyxy[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def duplicates(
    a_xyxy: np.ndarray,
    b_xyxy: np.ndarray,
    max_iou: float,
    max_containment: float = 1.0,
    max_area_ratio: float = math.inf,
) -> np.ndarray:
    """Return (N, M) whether boxes (N, 4) show the same object as boxes (M, 4), or a fragment of it.

    Args:
        a_xyxy: (N, 4).
        b_xyxy: (M, 4).
        max_iou: IoU above which two boxes show the same object.
        max_containment: share of a box inside a box of `b_xyxy` above which it is a fragment.
        max_area_ratio: ratio of the two areas above which a contained box is not a fragment.
    """
    intersection = _intersection_area(a_xyxy, b_xyxy)
    a_area, b_area = bbox_area(a_xyxy)[:, None], bbox_area(b_xyxy)
    is_fragment = (intersection > max_containment * a_area) & (b_area / max_area_ratio <= a_area)
    return (intersection > max_iou * (a_area + b_area - intersection)) | is_fragment


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
    if len(order) <= _SUPPRESSION_BLOCK:
        is_duplicate = duplicates(boxes, boxes, max_iou, max_containment, max_area_ratio)
        is_kept = np.ones(len(order), dtype=bool)
        for index in range(len(order)):
            if is_kept[index]:
                is_kept[index + 1 :] &= ~is_duplicate[index + 1 :, index]
        return order[is_kept]
    stronger: list[np.ndarray] = [np.empty(0, dtype=np.intp)] * len(order)
    by_position = np.argsort(boxes[:, 0], kind="stable")
    # only boxes that overlap horizontally are compared: a crowd has tens of thousands
    for start in range(0, len(order), _SUPPRESSION_BLOCK):
        block = by_position[start : start + _SUPPRESSION_BLOCK]
        overlaps = (boxes[:, 0] < boxes[block, 2].max()) & (boxes[:, 2] > boxes[block, 0].min())
        near = np.flatnonzero(overlaps)
        is_duplicate = duplicates(boxes[block], boxes[near], max_iou, max_containment, max_area_ratio)
        for index, row in zip(block, is_duplicate, strict=True):
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
    # as complex numbers the transform is one factor
    source = (source_xy - source_mean) @ _TO_COMPLEX
    target = (target_xy - target_mean) @ _TO_COMPLEX
    variance = float(np.vdot(source, source).real)
    factor = complex(np.vdot(source, target)) / variance if variance else 1 + 0j
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def determinant(matrix: np.ndarray) -> float:
    """Return the determinant of the linear part of a (2, 3) transform: the factor of areas."""
    (a, b, _), (c, d, _) = matrix.tolist()
    return a * d - b * c


def invert(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of a (2, 3) transform.

    Raises:
        ZeroDivisionError: when it has none.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    scale = 1 / (a * d - b * c)
    return np.array(
        [[d * scale, -b * scale, (b * y - d * x) * scale], [-c * scale, a * scale, (c * x - a * y) * scale]]
    )


def transform_points(matrix: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """Map points (..., 2) by a (2, 3) transform."""
    return points_xy @ matrix[:, :2].T + matrix[:, 2]
