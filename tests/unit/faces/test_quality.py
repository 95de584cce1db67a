from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.faces import FaceDetector, face_quality
from mien.faces.quality import frontality, sharpness, visible_share
from mien.results import Face, HeadPose
from support.images import PORTRAITS, blurred, portrait, scaled


def pose(yaw: float, pitch: float = 0, roll: float = 0) -> HeadPose:
    return HeadPose(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)


@pytest.fixture(scope="module")
def faces() -> dict[str, Face]:
    detector = FaceDetector(threads=1)
    return {name: detector.detect(portrait(name))[0] for name in PORTRAITS}


def test_quality_of_a_good_face(faces: dict[str, Face]):
    quality = face_quality(portrait("obama"), replace(faces["obama"], head_pose=pose(0)))
    assert quality.size_px == pytest.approx(211, abs=8)
    assert quality.sharpness > 0.7
    assert quality.frontality == 1
    assert quality.visible == 1


def test_frontality_is_none_without_a_pose(faces: dict[str, Face]):
    assert face_quality(portrait("obama"), faces["obama"]).frontality is None


@pytest.mark.parametrize("name", PORTRAITS)
def test_sharpness_decreases_with_blur(faces: dict[str, Face], name: str):
    width = float(faces[name].bbox_xyxy[2] - faces[name].bbox_xyxy[0])
    values = [
        face_quality(blurred(portrait(name), share * width), faces[name]).sharpness
        for share in (0, 0.01, 0.02, 0.04, 0.08)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.7
    assert values[-1] < 0.1


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("factor", [0.75, 1.5, 3.0])
def test_sharpness_is_scale_invariant(faces: dict[str, Face], name: str, factor: float):
    image, face = portrait(name), faces[name]
    larger = replace(face, bbox_xyxy=face.bbox_xyxy * factor, landmarks_xy=face.landmarks_xy * factor)
    assert face_quality(scaled(image, factor), larger).sharpness == pytest.approx(
        face_quality(image, face).sharpness, abs=0.15
    )


def test_sharpness_is_independent_of_brightness(faces: dict[str, Face]):
    image = portrait("obama")
    dark = (image * 0.3).astype(np.uint8)
    bright = face_quality(image, faces["obama"]).sharpness
    assert face_quality(dark, faces["obama"]).sharpness == pytest.approx(bright, abs=0.02)


def test_uniform_crop_has_no_sharpness():
    assert sharpness(np.full((64, 64, 3), 90, dtype=np.uint8)) == 0


def test_checkerboard_is_sharp():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    assert sharpness(np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)) > 0.99


def test_frontality_of_yaw_and_pitch():
    assert frontality(pose(0, 0, 70)) == 1
    assert frontality(pose(60)) == pytest.approx(0.5)
    assert frontality(pose(-60)) == pytest.approx(0.5)
    assert frontality(pose(60, 60)) == pytest.approx(0.25)
    assert frontality(pose(90)) == pytest.approx(0, abs=1e-9)
    assert frontality(pose(0, 170)) == 0


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 10, 30, 40), 1),
        ((-10, 10, 10, 40), 0.5),
        ((-10, -10, 10, 10), 0.25),
        ((90, 40, 110, 60), 0.25),
        ((200, 10, 220, 20), 0),
        ((5, 5, 5, 9), 0),
        ((0, 0, 100, 50), 1),
    ],
)
def test_visible_share_of_boxes_at_the_border(box: tuple[float, ...], expected: float):
    assert visible_share(np.array(box, dtype=np.float64), (50, 100)) == pytest.approx(expected)


def test_face_cut_in_half_is_half_visible(faces: dict[str, Face]):
    x1, _, x2, _ = faces["obama"].bbox_xyxy
    cut = portrait("obama")[:, : round(float(x1 + x2) / 2)]
    assert face_quality(cut, faces["obama"]).visible == pytest.approx(0.5, abs=0.01)
