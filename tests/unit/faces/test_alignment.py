from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import TEMPLATES, FaceDetector, align_face, alignment_matrix, letterbox
from mien.geometry import transform_points
from support.images import mirrored, portrait, rotated, scaled

TEMPLATE = TEMPLATES["ferplus"]


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return FaceDetector(threads=1).detect(portrait("obama"))[0].landmarks_xy


def test_template_is_symmetric():
    mirrored_template = (TEMPLATE * (-1, 1) + (1, 0))[[1, 0, 2, 4, 3]]
    np.testing.assert_allclose(mirrored_template, TEMPLATE)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_matrix_is_identity_for_landmarks_on_the_template(margin: float):
    target = (TEMPLATE + margin) / (1 + 2 * margin) * 112
    np.testing.assert_allclose(alignment_matrix(target, 112, margin=margin), [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_margin_enlarges_the_crop():
    scales = [alignment_matrix(TEMPLATE * 200, 100, margin=margin)[0, 0] for margin in (0.0, 0.1)]
    assert scales[0] / scales[1] == pytest.approx(1.2)


def test_aligned_landmarks_are_near_the_template(landmarks: np.ndarray):
    aligned = transform_points(alignment_matrix(landmarks, 112), landmarks) / 112
    assert np.abs(aligned - TEMPLATE).max() < 0.06


def test_rejects_unknown_template_and_wrong_shape():
    with pytest.raises(InputError, match="ferplus"):
        alignment_matrix(TEMPLATE, 112, template="arcface")
    with pytest.raises(InputError, match=r"\(5, 2\)"):
        alignment_matrix(np.zeros((68, 2)), 112)


def test_coincident_landmarks_give_a_crop():
    assert align_face(portrait("astronaut"), np.full((5, 2), 50.0), size=64).shape == (64, 64, 3)


@pytest.mark.parametrize("factor", [0.37, 0.5, 1.7])
def test_crop_is_scale_invariant(landmarks: np.ndarray, factor: float):
    image = portrait("obama")
    resized = scaled(image, factor)
    to_resized = np.array(resized.shape[1::-1]) / image.shape[1::-1]
    crop = align_face(image, landmarks, size=96)
    scaled_crop = align_face(resized, landmarks * to_resized, size=96)
    assert mean_difference(crop, scaled_crop) < 6
    # The bound above detects a shift.
    assert mean_difference(crop, np.roll(scaled_crop, 4, axis=1)) > 8


def test_crop_is_rotation_invariant(landmarks: np.ndarray):
    image = portrait("obama")
    rotated_image = rotated(image, 30)
    angle = np.radians(30)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center, rotated_center = np.array(image.shape[1::-1]) / 2, np.array(rotated_image.shape[1::-1]) / 2
    rotated_landmarks = (landmarks - center) @ linear.T + rotated_center
    crop = align_face(image, landmarks, size=96)
    rotated_crop = align_face(rotated_image, rotated_landmarks, size=96)
    assert mean_difference(crop, rotated_crop) < 5


def test_mirrored_image_gives_a_mirrored_crop(landmarks: np.ndarray):
    image = portrait("obama")
    mirrored_landmarks = (landmarks * (-1, 1) + (image.shape[1], 0))[[1, 0, 2, 4, 3]]
    crop = align_face(image, landmarks, size=96)
    mirrored_crop = align_face(mirrored(image), mirrored_landmarks, size=96)
    assert mean_difference(mirrored(crop), mirrored_crop) < 4


@pytest.mark.parametrize("size_hw", [(48, 48), (100, 60), (60, 100), (1, 1), (300, 7)])
def test_letterbox_of_a_uniform_image_is_uniform(size_hw: tuple[int, int]):
    image = np.full((*size_hw, 3), 90, dtype=np.uint8)
    assert (letterbox(image, size=64) == 90).all()


def test_letterbox_at_the_same_size_keeps_the_image():
    image = portrait("astronaut")[60:124, 200:264]
    np.testing.assert_array_equal(letterbox(image, size=64), image)


def test_letterbox_keeps_the_aspect_ratio():
    image = np.zeros((40, 80, 3), dtype=np.uint8)
    image[:, 40:] = 255
    columns = letterbox(image, size=80)[40, :, 0].astype(int)
    assert columns[:39].max() == 0
    assert columns[41:].min() == 255
