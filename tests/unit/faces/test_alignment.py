from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import TEMPLATES, FaceDetector, align_face, alignment_matrix, letterbox
from mien.geometry import transform_points
from support.images import mirrored, portrait, scaled, turned

TEMPLATE = TEMPLATES["ferplus"]


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return FaceDetector(threads=1).detect(portrait("obama"))[0].landmarks_xy


def test_the_template_is_symmetric():
    mirrored_template = (TEMPLATE * (-1, 1) + (1, 0))[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(mirrored_template, TEMPLATE)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_landmarks_on_the_template_stay(margin: float):
    places = (TEMPLATE + margin) / (1 + 2 * margin) * 112
    np.testing.assert_allclose(
        alignment_matrix(places, 112, margin=margin), [[1, 0, 0], [0, 1, 0]], atol=1e-9
    )


def test_margin_shows_more():
    scales = [alignment_matrix(TEMPLATE * 200, 100, margin=margin)[0, 0] for margin in (0.0, 0.1)]
    assert scales[0] / scales[1] == pytest.approx(1.2)


def test_landmarks_come_to_lie_near_the_template(landmarks: np.ndarray):
    placed = transform_points(alignment_matrix(landmarks, 112), landmarks) / 112
    assert np.abs(placed - TEMPLATE).max() < 0.06


def test_unknown_template_and_wrong_shape():
    with pytest.raises(InputError, match="ferplus"):
        alignment_matrix(TEMPLATE, 112, template="arcface")
    with pytest.raises(InputError, match=r"\(5, 2\)"):
        alignment_matrix(np.zeros((68, 2)), 112)


def test_landmarks_that_coincide_still_give_a_crop():
    assert align_face(portrait("astronaut"), np.full((5, 2), 50.0), size=64).shape == (64, 64, 3)


@pytest.mark.parametrize("factor", [0.37, 0.5, 1.7])
def test_the_crop_does_not_depend_on_the_scale(landmarks: np.ndarray, factor: float):
    image = portrait("obama")
    smaller = scaled(image, factor)
    to_smaller = np.array(smaller.shape[1::-1]) / image.shape[1::-1]
    crop, crop_of_smaller = (
        align_face(image, landmarks, size=96),
        align_face(smaller, landmarks * to_smaller, size=96),
    )
    assert mean_difference(crop, crop_of_smaller) < 6
    assert (
        mean_difference(crop, np.roll(crop_of_smaller, 4, axis=1)) > 8
    )  # the bound above would notice a shift


def test_the_crop_does_not_depend_on_the_turn(landmarks: np.ndarray):
    image = portrait("obama")
    turned_image = turned(image, 30)
    angle = np.radians(30)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center, turned_center = np.array(image.shape[1::-1]) / 2, np.array(turned_image.shape[1::-1]) / 2
    turned_landmarks = (landmarks - center) @ linear.T + turned_center
    assert (
        mean_difference(
            align_face(image, landmarks, size=96), align_face(turned_image, turned_landmarks, size=96)
        )
        < 5
    )


def test_the_crop_of_a_mirrored_image_is_mirrored(landmarks: np.ndarray):
    image = portrait("obama")
    flipped = (landmarks * (-1, 1) + (image.shape[1], 0))[[1, 0, 2, 4, 3]]
    crop, crop_of_mirrored = (
        align_face(image, landmarks, size=96),
        align_face(mirrored(image), flipped, size=96),
    )
    assert mean_difference(mirrored(crop), crop_of_mirrored) < 4


@pytest.mark.parametrize("size_hw", [(48, 48), (100, 60), (60, 100), (1, 1), (300, 7)])
def test_whole_face_is_centered(size_hw: tuple[int, int]):
    image = np.full((*size_hw, 3), 90, dtype=np.uint8)
    assert (letterbox(image, size=64) == 90).all()


def test_whole_face_of_its_own_size_is_itself():
    image = portrait("astronaut")[60:124, 200:264]
    np.testing.assert_array_equal(letterbox(image, size=64), image)


def test_whole_face_keeps_the_proportions():
    image = np.zeros((40, 80, 3), dtype=np.uint8)
    image[:, 40:] = 255
    columns = letterbox(image, size=80)[40, :, 0].astype(int)
    assert columns[:39].max() == 0
    assert columns[41:].min() == 255
