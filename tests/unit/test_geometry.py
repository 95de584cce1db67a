from __future__ import annotations

import numpy as np
import pytest

from mien.geometry import (
    bbox_area,
    bbox_iou,
    compose,
    invert,
    non_maximum_suppression,
    similarity_transform,
    transform_points,
)

QUARTER_TURN = np.array([[0.0, -1.0, 10.0], [1.0, 0.0, 20.0]])


def test_no_boxes():
    none = np.empty((0, 4))
    assert bbox_area(none).shape == (0,)
    assert bbox_iou(none, np.ones((3, 4))).shape == (0, 3)
    assert non_maximum_suppression(none, np.empty(0), 0.3).tolist() == []


def test_area_of_an_inverted_box_is_zero():
    boxes = np.array([[0, 0, 4, 5], [4, 5, 0, 0], [1, 1, 1, 9]], dtype=np.float32)
    assert bbox_area(boxes).tolist() == [20, 0, 0]


def test_iou():
    a = np.array([[0, 0, 2, 2], [5, 5, 5, 5]], dtype=np.float64)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 5, 5]], dtype=np.float64)
    np.testing.assert_allclose(bbox_iou(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_the_most_confident_of_overlapping_boxes_is_kept():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40], [2, 0, 12, 10]], dtype=np.float64)
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6]), 0.3).tolist() == [1, 2]


def test_a_box_hidden_by_a_dropped_box_is_kept():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=np.float64)
    assert non_maximum_suppression(boxes, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_equal_confidences_keep_the_first():
    boxes = np.tile([[0.0, 0.0, 5.0, 5.0]], (3, 1))
    assert non_maximum_suppression(boxes, np.full(3, 0.5), 0.3).tolist() == [0]


def test_a_box_inside_a_more_confident_one_is_a_part_of_it_unless_far_smaller():
    whole, part, speck, beside = [0, 0, 100, 100], [10, 40, 50, 90], [1, 1, 13, 13], [90, 0, 130, 50]
    boxes = np.array([part, whole, speck, beside], dtype=float)
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6]), 0.3).tolist() == [1, 2, 0, 3]
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6]), 0.3, 0.7, 16.0).tolist() == [
        1,
        2,
        3,
    ]
    assert non_maximum_suppression(boxes, np.array([0.9, 0.7, 0.8, 0.6]), 0.3, 0.7, 16.0).tolist() == [
        0,
        2,
        1,
        3,
    ]


def test_transform_points_takes_any_leading_shape():
    points = np.array([[[1.0, 0.0]], [[0.0, 2.0]]])
    np.testing.assert_allclose(transform_points(QUARTER_TURN, points), [[[10, 21]], [[8, 20]]])


def test_compose_applies_the_first_first():
    double = np.array([[2.0, 0, 0], [0, 2.0, 0]])
    point = np.array([1.0, 0.0])
    np.testing.assert_allclose(transform_points(compose(QUARTER_TURN, double), point), [10, 22])
    np.testing.assert_allclose(transform_points(compose(double, QUARTER_TURN), point), [20, 42])


def test_invert_undoes():
    np.testing.assert_allclose(
        compose(invert(QUARTER_TURN), QUARTER_TURN), [[1, 0, 0], [0, 1, 0]], atol=1e-12
    )


def test_similarity_finds_the_transform():
    source = np.array([[0, 0], [4, 0], [1, 3]], dtype=np.float64)
    np.testing.assert_allclose(
        similarity_transform(source, transform_points(QUARTER_TURN, source)), QUARTER_TURN, atol=1e-12
    )


def test_similarity_never_mirrors():
    source = np.array([[0, 0], [4, 0], [1, 3]], dtype=np.float64)
    assert np.linalg.det(similarity_transform(source, source * (-1, 1))[:, :2]) >= 0


def test_similarity_of_points_that_coincide_is_a_shift():
    found = similarity_transform(np.full((5, 2), 3.0), np.full((5, 2), 8.0))
    np.testing.assert_allclose(found, [[1, 0, 5], [0, 1, 5]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_similarity_at_any_scale(scale: float):
    source = np.array([[0, 0], [4, 0], [1, 3], [2, 2]], dtype=np.float64) * scale
    matrix = np.array([[0.6, -0.8, -7.0], [0.8, 0.6, 2.0]])
    np.testing.assert_allclose(
        similarity_transform(source, transform_points(matrix, source)), matrix, atol=1e-9
    )
