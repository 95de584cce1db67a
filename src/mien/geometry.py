"""Boxes and plane transforms, in numpy.

A transform is a (2, 3) matrix that maps source pixels to target pixels. Pixel centers lie at whole numbers +
0.5: an image of width W spans 0..W, so that halving its size halves every coordinate.
"""

from __future__ import annotations

import math

import numpy as np


def bbox_area(bbox_xyxy: np.ndarray) -> np.ndarray:
    """Areas (...,) of boxes (..., 4); an empty or inverted box has area 0."""
    sides = np.clip(bbox_xyxy[..., 2:] - bbox_xyxy[..., :2], 0, None)
    return sides[..., 0] * sides[..., 1]


def bbox_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where both are empty."""
    shared = _shared_area(a_xyxy, b_xyxy)
    union = bbox_area(a_xyxy)[:, None] + bbox_area(b_xyxy)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def bbox_containment(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Share (N, M) of the area of boxes (N, 4) that lies inside boxes (M, 4); 0 where the first are empty."""
    shared, own = _shared_area(a_xyxy, b_xyxy), bbox_area(a_xyxy)[:, None]
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


def _shared_area(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    return bbox_area(np.concatenate([top_left, bottom_right], axis=-1))


def non_maximum_suppression(
    bbox_xyxy: np.ndarray, confidences: np.ndarray, iou: float, inside: float = 1.0, times: float = math.inf
) -> np.ndarray:
    """Non-maximum suppression: indices of the kept boxes, most confident first.

    Args:
        bbox_xyxy: (N, 4).
        confidences: (N,).
        iou: a box that overlaps a more confident one more than this is dropped.
        inside: so is one of which a larger share lies inside a more confident one ...
        times: ... of at most so many times its area.
    """
    order = np.argsort(-confidences, kind="stable")
    boxes = bbox_xyxy[order]
    areas = bbox_area(boxes)
    is_part = (bbox_containment(boxes, boxes) > inside) & (areas[None] / times <= areas[:, None])
    overlaps = (bbox_iou(boxes, boxes) > iou) | is_part
    kept: list[int] = []
    for place in range(len(order)):
        if not overlaps[place, kept].any():
            kept.append(place)
    return order[np.array(kept, dtype=np.intp)]


def similarity_transform(source_xy: np.ndarray, target_xy: np.ndarray) -> np.ndarray:
    """The (2, 3) rotation, uniform scale and shift that maps source (N, 2) onto target points (N, 2) best.

    Least squares, without reflection. Source points that all coincide give the shift alone.

    Source:
        Umeyama (1991), "Least-squares estimation of transformation parameters between two point patterns".
    """
    source_mean, target_mean = source_xy.mean(axis=0), target_xy.mean(axis=0)
    source, target = source_xy - source_mean, target_xy - target_mean
    spread = float((source**2).sum())
    if spread == 0:
        linear = np.eye(2)
    else:
        cos = float((source * target).sum()) / spread
        sin = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum()) / spread
        linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The (2, 3) transform that applies `first`, then `second`."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def invert(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) transform that undoes `matrix`."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def transform_points(matrix: np.ndarray, points_xy: np.ndarray) -> np.ndarray:
    """Points (..., 2) mapped by a (2, 3) transform."""
    return points_xy @ matrix[:, :2].T + matrix[:, 2]
