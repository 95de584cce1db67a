"""Tracked faces drawn on video frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.drawing.tracks import draw_tracks
from mien.emotions import EXPRESSIONS
from mien.results import Expression, Face, HeadPose

SIZES_HW = [(1, 1), (2, 3), (8, 200), (200, 8), (9, 17), (48, 64), (240, 320), (1080, 1920)]


def face(x1, y1, x2, y2, *, number=1, label="happiness", is_classified=True):
    probabilities = np.full(len(EXPRESSIONS), 1 / len(EXPRESSIONS), dtype=np.float32)
    expression = Expression(labels=EXPRESSIONS, probabilities=probabilities, label=label, confidence=0.5)
    return Face(
        bbox_xyxy=np.array([x1, y1, x2, y2], dtype=np.float32),
        landmarks_xy=np.full((5, 2), (x1 + x2) / 2, dtype=np.float32),
        confidence=0.9,
        head_pose=HeadPose(yaw_deg=10, pitch_deg=-5, roll_deg=3),
        track_id=number,
        smoothed=expression if is_classified else None,
    )


def changed(image, faces):
    """Return a mask (H, W) of the pixels that drawing changes."""
    return (draw_tracks(image, faces) != image).any(axis=2)


@pytest.fixture
def image():
    return np.full((480, 640, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_returns_equal_copy_without_faces(size_hw):
    image = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    copy = draw_tracks(image, [])
    np.testing.assert_array_equal(copy, image)
    assert copy is not image


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_keeps_frame_size_and_does_not_modify_input(size_hw):
    image = np.full((*size_hw, 3), 90, dtype=np.uint8)
    image.flags.writeable = False
    height, width = size_hw
    copy = draw_tracks(image, [face(0.2 * width, 0.2 * height, 0.8 * width, 0.7 * height)])
    assert (copy.shape, copy.dtype) == (image.shape, np.uint8)
    assert (image == 90).all()
    assert (copy != image).any()


@pytest.mark.parametrize(
    "box",
    [
        (-50, -50, 40, 40),
        (600, 440, 700, 520),
        (-100, -100, 740, 580),
        (-90, 100, -10, 200),
        (650, 100, 700, 200),
        (100, -90, 200, -10),
        (100, 500, 200, 600),
        (639, 479, 640, 480),
        (300, 200, 300, 200),
        (0, 0, 640, 480),
    ],
)
def test_draws_faces_at_and_beyond_the_border(image, box):
    for is_classified in (True, False):
        assert draw_tracks(image, [face(*box, is_classified=is_classified)]).shape == image.shape


def test_draws_box_and_nothing_far_away(image):
    mask = changed(image, [face(100, 100, 200, 220)])
    assert mask[97:104, 120:180].any()
    assert not mask[:, 420:].any()
    assert not mask[420:].any()


def test_card_is_below_face_or_above_at_lower_border(image):
    without = changed(image, [face(250, 200, 350, 300, is_classified=False)])
    under = changed(image, [face(250, 200, 350, 300)]) & ~without
    assert under[305:].any()
    assert not under[:195].any()
    without = changed(image, [face(250, 340, 350, 470, is_classified=False)])
    over = changed(image, [face(250, 340, 350, 470)]) & ~without
    assert over[:335].any()
    assert not over[475:].any()


@pytest.mark.parametrize("left", [300, 1528])
def test_card_is_beside_a_face_as_high_as_the_frame(left):
    image = np.full((120, 1600, 3), 128, dtype=np.uint8)
    box = (left, 20, left + 70, 110)
    card = changed(image, [face(*box)]) & ~changed(image, [face(*box, is_classified=False)])
    rows, columns = np.nonzero(card)
    assert not card[:, left : left + 70].any()
    assert min(abs(columns - left).min(), abs(columns - left - 70).min()) < 20
    assert np.ptp(rows) < 40


def test_draws_card_of_uncertain_face_and_none_of_unclassified_face(image):
    plain = changed(image, [replace(face(250, 100, 350, 200, is_classified=False), head_pose=None)])
    unsure = changed(image, [face(250, 100, 350, 200, label=None)])
    assert plain.any()
    assert unsure.sum() > plain.sum()


def test_draws_many_faces_in_any_order(image):
    faces = [face(20 * place, 10 * place, 20 * place + 90, 10 * place + 90, number=10**place) for place in range(12)]
    assert draw_tracks(image, faces).shape == image.shape
    np.testing.assert_array_equal(draw_tracks(image, faces), draw_tracks(image, faces[::-1]))


def test_marks_the_faces_that_speak(image):
    faces = [face(60, 160, 200, 340), face(360, 160, 500, 340, number=2)]
    silent, marked = draw_tracks(image, faces), draw_tracks(image, faces, {2})
    rows, columns = np.nonzero((silent != marked).any(axis=2))
    assert 360 <= columns.min() < columns.max() < 440
    assert 110 <= rows.min() < rows.max() <= 160
    np.testing.assert_array_equal(draw_tracks(image, faces, {7}), silent)
