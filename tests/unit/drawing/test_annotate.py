"""Faces drawn on images, and the placement of their panels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.action_units import ACTION_UNIT_NAMES
from mien.drawing.annotate import MIN_SIDE_PX, MIN_TEXT_PX, TEXT_SHARES, axes_xyz, draw_faces
from mien.drawing.cards import BarsPanel
from mien.drawing.label_placement import place_panels
from mien.emotions import EXPRESSIONS
from mien.errors import InputError
from mien.results import Expression, Face, HeadPose


def expression(best="happiness", share=0.6, *, is_sure=True, labels=EXPRESSIONS):
    probabilities = np.full(len(labels), (1 - share) / (len(labels) - 1))
    probabilities[labels.index(best)] = share
    return Expression(labels=labels, probabilities=probabilities, label=best if is_sure else None, confidence=share)


def face(left, top, side, **changes):
    bbox = np.array([left, top, left + side, top + side], dtype=np.float32)
    marks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]) * side + [left, top]
    pose = HeadPose(yaw_deg=20.0, pitch_deg=-5.0, roll_deg=3.0)
    fields = {"head_pose": pose, "expression": expression(), **changes}
    return Face(bbox_xyxy=bbox, landmarks_xy=marks, confidence=0.9, **fields)


def canvas(width, height):
    return np.full((height, width, 3), 100, dtype=np.uint8)


def test_returns_equal_image_without_faces():
    image = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_faces(image, []), image)


def test_does_not_modify_input():
    image = canvas(640, 480)
    before = image.copy()
    drawn = draw_faces(image, [face(100, 100, 120)])
    np.testing.assert_array_equal(image, before)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (drawn != image).any()


def test_keeps_center_of_face_visible():
    image = canvas(640, 480)
    without_axes = face(250, 150, 120, head_pose=None)
    drawn = draw_faces(image, [without_axes])
    np.testing.assert_array_equal(drawn[155:265, 255:365][20:-20, 20:-20], 100)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (24, 24), (90, 40), (40, 90)])
def test_enlarges_tiny_images(size):
    width, height = size
    drawn = draw_faces(canvas(*size), [face(0, 0, min(size))])
    assert max(drawn.shape[:2]) >= MIN_SIDE_PX
    assert drawn.shape[1] % width == 0
    assert drawn.shape[0] % height == 0 or drawn.shape[0] > drawn.shape[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"expression": None},
        {"head_pose": None},
        {"expression": expression(is_sure=False)},
        {"expression": expression("b", labels=("a", "b"))},
        {"expression": expression("long " * 9, labels=("long " * 9, "b"))},
        {"expression": expression(share=1.0)},
    ],
)
def test_draws_faces_with_missing_or_unusual_fields(changes):
    drawn = draw_faces(canvas(640, 480), [face(200, 150, 100, **changes)])
    assert (drawn != 100).any()


def test_draws_abstention_differently():
    faces = [face(200, 150, 100)]
    unsure = [replace(faces[0], expression=expression(is_sure=False))]
    image = canvas(640, 480)
    assert (draw_faces(image, faces) != draw_faces(image, unsure)).any()


def test_draws_crowds_and_faces_beyond_the_border():
    beyond = [face(-50, -50, 100), face(600, 440, 100), face(300, 200, 2), face(-300, 0, 100)]
    assert draw_faces(canvas(640, 480), beyond).shape[2] == 3
    crowd = [face(90 * (i % 7), 90 * (i // 7), 70) for i in range(30)]
    assert draw_faces(canvas(640, 480), crowd).shape[2] == 3
    partly_classified = [replace(crowd[0], expression=None), *crowd[1:3]]
    assert draw_faces(canvas(640, 480), partly_classified).shape[2] == 3


@pytest.mark.parametrize("size", [(800, 12_000), (8000, 500), (8000, 100)])
def test_long_images_have_panels_beside_the_face(size):
    width, height = size
    image = canvas(width, height)
    drawn = draw_faces(image, [face(width // 2 - 30, height // 2 - 30, 60, head_pose=None)])
    changed = (drawn[:height] != image).any(axis=2)
    middle = changed[height // 2 - 15 : height // 2 + 15, width // 2 - 15 : width // 2 + 15]
    assert not middle.any()
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) < 2 * min(size)
    assert np.ptp(columns) < 2 * min(size)
    assert drawn.shape[0] == height if height > 100 else drawn.shape[0] > height


def test_crowds_in_long_images_have_small_panels():
    image = canvas(8000, 500)
    drawn = draw_faces(image, [face(3600 + 100 * (index % 6), 60 + 200 * (index // 6), 80) for index in range(12)])
    columns = np.nonzero((drawn[:500] != image).any(axis=(0, 2)))[0]
    assert np.ptp(columns) < 2500


@pytest.mark.parametrize("first", [0, 1])
def test_panels_with_and_without_action_units_cover_no_face_and_are_complete(first):
    tall = face(582, 300, 72, head_pose=None, action_units=dict.fromkeys(ACTION_UNIT_NAMES, 0.5))
    faces = [face(0, 50, 95, head_pose=None), tall]
    image = canvas(700, 400)
    drawn = draw_faces(image, faces if first == 0 else faces[::-1])
    np.testing.assert_array_equal(drawn[320:350, 588:648], 100)
    rows = np.nonzero((drawn != image).any(axis=2)[:, 350:580].any(axis=1))[0]
    unit = max(MIN_TEXT_PX, round(700 / TEXT_SHARES[0]))
    assert np.ptp(rows) + 1 == BarsPanel().size(tall, unit)[1]


def test_axes_of_a_face_of_a_larger_image_take_little_memory(monkeypatch):
    original = Image.new

    def new(mode, size, *color):
        assert max(size) < 2000
        return original(mode, size, *color)

    monkeypatch.setattr("mien.drawing.annotate.Image.new", new)
    drawn = draw_faces(canvas(640, 480), [face(-4000, -4000, 5000)])
    assert drawn.shape == (480, 640, 3)


def test_rejects_array_that_is_not_an_image():
    with pytest.raises(InputError):
        draw_faces(np.zeros((4, 4), dtype=np.uint8), [])


def test_axes_follow_signs_of_head_pose():
    frontal = axes_xyz(HeadPose(yaw_deg=0, pitch_deg=0, roll_deg=0))
    np.testing.assert_allclose(frontal, np.eye(3), atol=1e-12)
    assert axes_xyz(HeadPose(yaw_deg=30, pitch_deg=0, roll_deg=0))[0, 2] > 0  # to their left: our right
    assert axes_xyz(HeadPose(yaw_deg=0, pitch_deg=30, roll_deg=0))[1, 2] > 0  # up
    assert axes_xyz(HeadPose(yaw_deg=0, pitch_deg=0, roll_deg=30))[0, 1] > 0  # the crown goes to our right


@settings(max_examples=40)
@given(
    st.tuples(st.integers(200, 2000), st.integers(200, 2000)),
    st.lists(st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.5)), max_size=6),
    st.tuples(st.integers(20, 150), st.integers(20, 150)),
)
def test_panels_are_inside_image_and_disjoint_when_nothing_is_covered(size, shares, panel):
    corners = [(x * size[0], y * size[1], s * min(size)) for x, y, s in shares]
    faces = np.array([(x, y, x + s, y + s) for x, y, s in corners]).reshape(-1, 4)
    placement = place_panels(size, faces, range(len(faces)), panel, gap=5)
    boxes = placement.boxes_xyxy
    assert len(boxes) == len(faces)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= size).all()
    if placement.covered == 0:
        for index, box in enumerate(boxes):
            others = np.vstack([faces, boxes[:index], boxes[index + 1 :]])
            overlap = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
            assert (overlap.clip(min=0).prod(axis=1) <= 0).all()
