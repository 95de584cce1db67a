from __future__ import annotations

import numpy as np
import pytest

from mien.geometry import (
    bbox_area,
    bbox_iou,
    determinant,
    invert,
    non_maximum_suppression,
    similarity_transform,
    transform_points,
)

ROTATION_90 = np.array([[0.0, -1.0, 10.0], [1.0, 0.0, 20.0]])


def test_functions_accept_no_boxes():
    no_boxes = np.empty((0, 4))
    assert bbox_area(no_boxes).shape == (0,)
    assert bbox_iou(no_boxes, np.ones((3, 4))).shape == (0, 3)
    assert non_maximum_suppression(no_boxes, np.empty(0), 0.3).tolist() == []


def test_inverted_and_empty_boxes_have_no_area():
    boxes = np.array([[0, 0, 4, 5], [4, 5, 0, 0], [1, 1, 1, 9]], dtype=np.float32)
    assert bbox_area(boxes).tolist() == [20, 0, 0]


def test_iou_of_overlapping_and_empty_boxes():
    a = np.array([[0, 0, 2, 2], [5, 5, 5, 5]], dtype=np.float64)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 5, 5]], dtype=np.float64)
    np.testing.assert_allclose(bbox_iou(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_suppression_keeps_the_most_confident_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40], [2, 0, 12, 10]], dtype=np.float64)
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6]), 0.3).tolist() == [1, 2]


def test_suppression_ignores_overlap_with_dropped_boxes():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=np.float64)
    assert non_maximum_suppression(boxes, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_suppression_keeps_the_first_of_equal_confidences():
    boxes = np.tile([[0.0, 0.0, 5.0, 5.0]], (3, 1))
    assert non_maximum_suppression(boxes, np.full(3, 0.5), 0.3).tolist() == [0]


def test_suppression_drops_contained_boxes_unless_far_smaller():
    face = [0, 0, 100, 100]
    fragment = [10, 40, 50, 90]
    tiny = [1, 1, 13, 13]
    neighbor = [90, 0, 130, 50]
    boxes = np.array([fragment, face, tiny, neighbor], dtype=float)
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6]), 0.3).tolist() == [1, 2, 0, 3]
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6]), 0.3, 0.7, 16.0).tolist() == [1, 2, 3]
    assert non_maximum_suppression(boxes, np.array([0.9, 0.7, 0.8, 0.6]), 0.3, 0.7, 16.0).tolist() == [0, 2, 1, 3]


def test_transform_points_accepts_any_leading_shape():
    points = np.array([[[1.0, 0.0]], [[0.0, 2.0]]])
    np.testing.assert_allclose(transform_points(ROTATION_90, points), [[[10, 21]], [[8, 20]]])


def test_invert_gives_the_inverse():
    points = np.array([[3.0, 4.0], [-1.0, 0.5]])
    np.testing.assert_allclose(transform_points(invert(ROTATION_90), transform_points(ROTATION_90, points)), points)


def test_determinant_is_the_factor_of_areas():
    assert determinant(np.array([[2.0, 0, 5], [1, 3.0, 7]])) == 6
    assert determinant(ROTATION_90) == 1


def test_similarity_recovers_the_transform():
    source = np.array([[0, 0], [4, 0], [1, 3]], dtype=np.float64)
    np.testing.assert_allclose(
        similarity_transform(source, transform_points(ROTATION_90, source)), ROTATION_90, atol=1e-12
    )


def test_similarity_is_never_a_reflection():
    source = np.array([[0, 0], [4, 0], [1, 3]], dtype=np.float64)
    assert np.linalg.det(similarity_transform(source, source * (-1, 1))[:, :2]) >= 0


def test_similarity_of_coincident_points_is_a_translation():
    matrix = similarity_transform(np.full((5, 2), 3.0), np.full((5, 2), 8.0))
    np.testing.assert_allclose(matrix, [[1, 0, 5], [0, 1, 5]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_similarity_is_recovered_at_any_scale(scale: float):
    source = np.array([[0, 0], [4, 0], [1, 3], [2, 2]], dtype=np.float64) * scale
    matrix = np.array([[0.6, -0.8, -7.0], [0.8, 0.6, 2.0]])
    np.testing.assert_allclose(similarity_transform(source, transform_points(matrix, source)), matrix, atol=1e-9)
