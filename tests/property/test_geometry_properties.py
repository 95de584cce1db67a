"""Invariants of boxes, transforms and alignment under random input."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.faces import TEMPLATES, align_face, alignment_matrix
from mien.geometry import bbox_iou, invert, non_maximum_suppression, similarity_transform, transform_points

coordinates = st.floats(-2000, 2000)
points = arrays(np.float64, (5, 2), elements=coordinates)
boxes = arrays(np.float64, st.tuples(st.integers(0, 12), st.just(4)), elements=st.floats(0, 100))


@st.composite
def similarities(draw: st.DrawFn) -> np.ndarray:
    angle, scale = draw(st.floats(-math.pi, math.pi)), draw(st.floats(0.05, 20))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[cos, -sin, draw(coordinates)], [sin, cos, draw(coordinates)]])


@given(similarities(), points)
def test_inverse_restores_the_points(matrix: np.ndarray, xy: np.ndarray):
    np.testing.assert_allclose(transform_points(invert(matrix), transform_points(matrix, xy)), xy, atol=1e-6)


@given(similarities())
def test_similarity_transform_recovers_a_similarity(matrix: np.ndarray):
    source = np.array([[30, 40], [70, 41], [50, 60], [34, 80], [66, 79]], dtype=np.float64)
    recovered = similarity_transform(source, transform_points(matrix, source))
    np.testing.assert_allclose(recovered, matrix, rtol=1e-6, atol=1e-6)


@given(points, points)
def test_similarity_transform_is_never_a_reflection(source: np.ndarray, target: np.ndarray):
    assert np.linalg.det(similarity_transform(source, target)[:, :2]) >= 0


@given(boxes, boxes)
def test_iou_is_symmetric_and_within_0_and_1(a: np.ndarray, b: np.ndarray):
    iou = bbox_iou(a, b)
    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all()
    np.testing.assert_allclose(iou, bbox_iou(b, a).T)


@given(boxes, st.data())
def test_suppression_keeps_disjoint_boxes_and_drops_overlapping_ones(candidates: np.ndarray, data: st.DataObject):
    confidences = data.draw(arrays(np.float64, len(candidates), elements=st.floats(0, 1)))
    kept = non_maximum_suppression(candidates, confidences, 0.3)
    overlaps = bbox_iou(candidates[kept], candidates[kept])[~np.eye(len(kept), dtype=bool)]
    assert (overlaps <= 0.3).all()
    assert (np.diff(confidences[kept]) <= 0).all()
    dropped = np.setdiff1d(np.arange(len(candidates)), kept)
    assert (bbox_iou(candidates[dropped], candidates[kept]) > 0.3).any(axis=1).all()


@given(similarities())
def test_alignment_inverts_any_similarity(matrix: np.ndarray):
    landmarks = TEMPLATES["ferplus"] * 90 + 7
    transformed = transform_points(matrix, landmarks)
    aligned = transform_points(alignment_matrix(transformed, 112), transformed)
    np.testing.assert_allclose(aligned, TEMPLATES["ferplus"] * 112, atol=1e-5)


@given(arrays(np.float64, (5, 2), elements=st.floats(-4, 4)), st.integers(20, 60), st.floats(0.3, 3))
def test_mirrored_face_has_a_mirrored_crop(jitter: np.ndarray, size: int, scale: float):
    width = 150
    ramp = np.add.outer(np.arange(120), np.arange(width)) % 251
    image = np.repeat(ramp.astype(np.uint8)[:, :, None] // 2, 3, axis=2)
    landmarks = TEMPLATES["ferplus"] * 60 * scale + (10, 5) + jitter
    mirrored = (landmarks * (-1, 1) + (width, 0))[[1, 0, 2, 4, 3]]
    matrix, mirrored_matrix = alignment_matrix(landmarks, size), alignment_matrix(mirrored, size)
    corners = np.array([[0.0, 0.0], [50, 30], [9, 99]])
    expected = transform_points(matrix, corners) * (-1, 1) + (size, 0)
    np.testing.assert_allclose(transform_points(mirrored_matrix, corners * (-1, 1) + (width, 0)), expected, atol=1e-6)
    assert align_face(image, landmarks, size=size).shape == (size, size, 3)
