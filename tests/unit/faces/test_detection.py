from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import FaceDetector
from mien.geometry import bbox_iou
from mien.imaging import read_image
from mien.results import Face
from support.images import (
    PORTRAITS,
    crowd,
    filling,
    gray,
    mirrored,
    no_face,
    noisy,
    photo_wall,
    portrait,
    scaled_to_face,
    stored_rotated,
)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(threads=1)


def centers(faces: list[Face]) -> np.ndarray:
    return np.array([(face.bbox_xyxy[:2] + face.bbox_xyxy[2:]) / 2 for face in faces])


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 500), (500, 1), (8, 8), (31, 33), (480, 640)])
def test_image_without_face_gives_an_empty_list(detector: FaceDetector, size_hw: tuple[int, int]):
    assert detector.detect(no_face(size_hw)) == []


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 3))])
def test_rejects_arrays_that_are_not_images(detector: FaceDetector, image: np.ndarray):
    with pytest.raises(InputError, match=r"image"):
        detector.detect(image)


@pytest.mark.parametrize(
    "options", [{"max_side": 10}, {"max_side": 10**6}, {"min_confidence": 0}, {"min_confidence": 1}]
)
def test_rejects_options_out_of_range(options: dict):
    with pytest.raises(InputError, match=next(iter(options))):
        FaceDetector(**options)


@pytest.mark.parametrize("name", PORTRAITS)
def test_detects_a_portrait(detector: FaceDetector, name: str):
    [face] = detector.detect(portrait(name))
    assert bbox_iou(face.bbox_xyxy[None], np.array([PORTRAITS[name]]))[0, 0] > 0.9
    assert 0.6 <= face.confidence <= 1
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks_xy
    assert right_eye[0] < nose[0] < left_eye[0]  # the subject's right is left in the image
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_mirrored_image_has_mirrored_landmarks(detector: FaceDetector):
    image = portrait("obama")
    [face], [flipped] = detector.detect(image), detector.detect(mirrored(image))
    expected = (face.landmarks_xy * (-1, 1) + (image.shape[1], 0))[[1, 0, 2, 4, 3]]
    assert np.abs(flipped.landmarks_xy - expected).max() < 0.04 * 211


def test_detects_every_face_of_a_crowd():
    image, expected = crowd(4, 8, 64)
    faces = FaceDetector(max_side=1280, threads=1).detect(image)
    assert len(faces) == len(expected) == 32
    distances = np.linalg.norm(centers(faces)[:, None] - expected[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == list(range(32))
    assert distances.min(axis=1).max() < 32


def test_detects_faces_of_many_sizes(detector: FaceDetector):
    assert len(detector.detect(photo_wall())) == 11


def test_sorts_faces_by_size(detector: FaceDetector):
    areas = [np.prod(face.bbox_xyxy[2:] - face.bbox_xyxy[:2]) for face in detector.detect(photo_wall())]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("name", PORTRAITS)
def test_detects_a_tiny_face(detector: FaceDetector, name: str):
    image = no_face((480, 640))
    head = scaled_to_face(name, 24, room=0.5)
    image[200 : 200 + head.shape[0], 300 : 300 + head.shape[1]] = head
    [face] = detector.detect(image)
    assert 14 < face.bbox_xyxy[3] - face.bbox_xyxy[1] < 34


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("room", [0.0, 0.25])
def test_detects_a_huge_face(detector: FaceDetector, name: str, room: float):
    image = scaled_to_face(name, 1700, room=room)
    [face] = detector.detect(image)
    height = face.bbox_xyxy[3] - face.bbox_xyxy[1]
    assert 0.75 * 1700 < height < 1.25 * 1700


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("long_side", [48, 100, 160, 600])
def test_detects_a_face_that_fills_the_image(detector: FaceDetector, name: str, long_side: int):
    image = filling(name, long_side)
    [face] = detector.detect(image)
    image_bbox = np.array([[0, 0, image.shape[1], image.shape[0]]])
    assert bbox_iou(face.bbox_xyxy[None], image_bbox)[0, 0] > 0.6


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("max_side", [640, 1280, 2048])
def test_detects_a_small_face_beside_one_that_fills_the_image(name: str, max_side: int):
    image = filling(name, 2200).copy()
    other = scaled_to_face("obama" if name == "astronaut" else "astronaut", 180, room=0.3)
    image[: other.shape[0], : other.shape[1]] = other
    large, small = FaceDetector(max_side=max_side, threads=1).detect(image)
    assert large.bbox_xyxy[3] - large.bbox_xyxy[1] > 1800
    assert 130 < small.bbox_xyxy[3] - small.bbox_xyxy[1] < 300


def scan_sizes(image: np.ndarray, monkeypatch: pytest.MonkeyPatch, max_faces: int | None = None) -> list[int]:
    """Return the long sides at which an image is scanned."""
    detector = FaceDetector(threads=1)
    scan = detector._scan
    sizes = []

    def record(scaled: np.ndarray, *arguments: object) -> np.ndarray:
        sizes.append(max(scaled.shape))
        return scan(scaled, *arguments)

    monkeypatch.setattr(detector, "_scan", record)
    detector.detect(image, max_faces=max_faces)
    return sizes


@pytest.mark.parametrize("image", [portrait("obama"), photo_wall(), filling("biden", 600)])
def test_scans_once_where_confident_faces_explain_the_image(image: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    assert len(scan_sizes(image, monkeypatch)) == 1


def test_scans_at_a_small_size_too_without_a_face(monkeypatch: pytest.MonkeyPatch):
    assert scan_sizes(no_face((480, 640)), monkeypatch) == [640, 160]
    assert scan_sizes(no_face((100, 150)), monkeypatch) == [160]


def test_scans_at_a_small_size_too_beside_a_confident_face_for_a_weak_large_candidate(monkeypatch: pytest.MonkeyPatch):
    face = filling("astronaut", 800)
    image = np.ascontiguousarray(face[80:-80, 64:-64])
    other = scaled_to_face("obama", 80, room=0.3)
    image[: other.shape[0], : other.shape[1]] = other
    assert scan_sizes(image, monkeypatch) == [640, 160]
    large, small = FaceDetector(threads=1).detect(image)
    assert large.bbox_xyxy[3] - large.bbox_xyxy[1] > 640
    assert 70 < small.bbox_xyxy[3] - small.bbox_xyxy[1] < 90


@pytest.mark.parametrize("max_faces", [1, 2, 20])
def test_max_faces_keeps_the_largest(detector: FaceDetector, max_faces: int):
    faces = detector.detect(photo_wall())[:max_faces]
    kept = detector.detect(photo_wall(), max_faces=max_faces)
    assert len(kept) == len(faces)
    assert centers(kept) == pytest.approx(centers(faces), abs=5)


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("face_px", [130, 300, 900])
def test_one_large_face_is_found_in_a_reduced_image(name: str, face_px: int, monkeypatch: pytest.MonkeyPatch):
    image = no_face((960, 1280))
    head = scaled_to_face(name, face_px, room=0.3)[:960, :1280]
    image[: head.shape[0], : head.shape[1]] = head
    other = scaled_to_face(name, 60, room=0.3)
    image[-other.shape[0] :, -other.shape[1] :] = other
    is_large = face_px > 0.17 * 1280
    assert scan_sizes(image, monkeypatch, max_faces=1)[:2] == ([320] if is_large else [320, 640])
    [face] = FaceDetector(threads=1).detect(image, max_faces=1)
    expected = FaceDetector(threads=1).detect(image)[0]
    assert bbox_iou(face.bbox_xyxy[None], expected.bbox_xyxy[None])[0, 0] > 0.8
    assert np.abs(face.landmarks_xy - expected.landmarks_xy).max() < 0.06 * face_px


def test_image_is_not_reduced_for_several_faces_or_if_small(monkeypatch: pytest.MonkeyPatch):
    assert scan_sizes(portrait("obama"), monkeypatch, max_faces=2) == [640]
    assert scan_sizes(filling("obama", 600), monkeypatch, max_faces=1) == [600]


@pytest.mark.parametrize("quarter_turns", [1, 3])
def test_detects_faces_in_images_rotated_by_90_degrees(quarter_turns: int):
    detector = FaceDetector(min_confidence=0.85, threads=1)
    [upright] = detector.detect(portrait("biden"))
    image = np.ascontiguousarray(np.rot90(portrait("biden"), quarter_turns))
    assert detector.detect(image) == []
    [face] = detector.detect(image, rotated=True)
    left, top, right, bottom = (round(float(value)) for value in face.bbox_xyxy)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[top:bottom, left:right] = True
    rows, columns = np.nonzero(np.rot90(mask, -quarter_turns))
    bbox_xyxy = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(bbox_xyxy, upright.bbox_xyxy, atol=3)
    height, width = image.shape[:2]
    x, y = face.landmarks_xy.T
    landmarks_xy = np.stack([height - y, x] if quarter_turns == 1 else [y, width - x], axis=1)
    np.testing.assert_allclose(landmarks_xy, upright.landmarks_xy, atol=3)


def test_rotated_search_without_face_gives_an_empty_list(detector: FaceDetector):
    assert detector.detect(no_face(), rotated=True) == []


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("max_side", [1280, 2048])
def test_drops_fragments_of_a_face(name: str, max_side: int):
    [face] = FaceDetector(max_side=max_side, threads=1).detect(filling(name, 2200))
    assert face.confidence > 0.8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_detects_faces_in_exif_rotated_files(detector: FaceDetector, orientation: int):
    [face] = detector.detect(read_image(stored_rotated(portrait("astronaut"), orientation)))
    assert bbox_iou(face.bbox_xyxy[None], np.array([PORTRAITS["astronaut"]]))[0, 0] > 0.9


def test_detects_faces_in_gray_noisy_and_dark_images(detector: FaceDetector):
    image = portrait("obama")
    for changed in (gray(image), noisy(image, 25), (image // 3).astype(np.uint8)):
        [face] = detector.detect(changed)
        assert bbox_iou(face.bbox_xyxy[None], np.array([PORTRAITS["obama"]]))[0, 0] > 0.8


def test_accepts_read_only_images_and_views(detector: FaceDetector):
    image = portrait("astronaut")
    assert not image.flags.writeable
    assert len(detector.detect(image[:, ::-1])) == 1


def test_detector_is_thread_safe(detector: FaceDetector):
    images = [portrait("astronaut"), portrait("obama")] * 4
    sequential = [detector.detect(image)[0].bbox_xyxy for image in images]
    with ThreadPoolExecutor(4) as pool:
        concurrent = [faces[0].bbox_xyxy for faces in pool.map(detector.detect, images)]
    np.testing.assert_array_equal(sequential, concurrent)


def test_keeps_every_face_of_a_crowd(monkeypatch: pytest.MonkeyPatch):
    detector = FaceDetector(threads=1)
    count = 6000
    rows = np.zeros((count, 15), dtype=np.float32)
    rows[:, 0] = rows[:, 1] = np.arange(count) * 2
    rows[:, 2:4] = rows[:, :2] + 1
    rows[:, 14] = np.random.default_rng(0).permutation(np.linspace(0.6, 1, count))
    monkeypatch.setattr(detector, "_scan", lambda *_, **__: np.repeat(rows, 3, axis=0))
    assert len(detector.detect(no_face((480, 640)))) == count


def test_refuses_more_candidates_than_can_be_compared(monkeypatch: pytest.MonkeyPatch):
    detector = FaceDetector(threads=1)
    monkeypatch.setattr(detector, "_scan", lambda *_, **__: np.ones((31_000, 15), dtype=np.float32))
    with pytest.raises(InputError, match=r"more than 30,000 possible faces; raise min_confidence \(0.01\)"):
        detector.detect(no_face((480, 640)), min_confidence=0.01)
