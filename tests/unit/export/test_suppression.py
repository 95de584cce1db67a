"""Suppression with static shapes drops the boxes that greedy suppression drops."""

import numpy as np
import pytest
import torch

from mien.export.pipeline.suppression import suppress
from mien.faces.detection import MAX_CONTAINMENT, MAX_FRAGMENT_RATIO
from mien.geometry import non_maximum_suppression


def suppressed(boxes, confidences, min_confidence=0.5):
    """Return the sorted indices of boxes that remain after both kinds of suppression."""
    order = np.argsort(-confidences, kind="stable")
    is_candidate = confidences[order] >= min_confidence
    kept = suppress(torch.from_numpy(boxes[order]), torch.from_numpy(is_candidate), 0.3).numpy()
    candidates = order[is_candidate]
    expected = candidates[
        non_maximum_suppression(boxes[candidates], confidences[candidates], 0.3, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO)
    ]
    return sorted(order[kept]), sorted(expected)


@pytest.mark.parametrize("seed", range(20))
def test_same_boxes_as_greedy_suppression(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 300, (100, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 150, (100, 2))]).astype(np.float32)
    kept, expected = suppressed(boxes, rng.uniform(0, 1, 100).astype(np.float32))
    assert kept == expected
    assert 0 < len(kept) < 50


def test_a_dropped_box_drops_no_other():
    boxes = np.array([[0, 0, 100, 100], [40, 0, 140, 100], [80, 0, 180, 100]], dtype=np.float32)
    kept, expected = suppressed(boxes, np.array([0.9, 0.8, 0.7], dtype=np.float32))
    assert kept == expected == [0, 2]


def test_a_small_face_in_the_background_of_a_large_box_stays():
    boxes = np.array([[0, 0, 400, 400], [10, 10, 60, 60], [100, 100, 300, 300]], dtype=np.float32)
    kept, expected = suppressed(boxes, np.array([0.9, 0.8, 0.7], dtype=np.float32))
    assert kept == expected == [0, 1]


def test_no_candidates_leave_no_box():
    boxes = np.array([[0, 0, 10, 10]], dtype=np.float32)
    kept, expected = suppressed(boxes, np.array([0.1], dtype=np.float32))
    assert kept == expected == []
