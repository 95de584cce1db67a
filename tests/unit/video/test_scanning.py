"""Face scanner: when frames are reduced and when they are scanned in full, and whose faces are returned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.results import Face
from mien.video.scanning import FaceScanner

INTERVAL_S = 0.1
IMAGE = np.zeros((480, 640, 3), dtype=np.uint8)
FULL, REDUCED = 640, 320
LARGE, OTHER, SMALL = (100.0, 160.0), (400.0, 150.0), (500.0, 40.0)
"""Left edge and side of a face in pixels of the frame."""
UNCERTAIN = (100.0, 160.0, 0.7)


def make_face(left, side, confidence=0.95):
    corners = np.array([left, 100, left + side, 100 + side], dtype=np.float32)
    return Face(bbox_xyxy=corners, landmarks_xy=np.full((5, 2), left, np.float32), confidence=confidence)


class FakeAnalyzer:
    """An `Analyzer` with the given faces, one pixel to the right in full scans; records the widths that it scans."""

    def __init__(self, width=FULL):
        self.width, self.faces, self.reduced_faces, self.widths = width, [LARGE], None, []

    def detect(self, image, *, rotated):
        assert not rotated
        self.widths.append(image.shape[1])
        k = round(self.width / image.shape[1])
        if k == 1:
            return [make_face(left + 1, *rest) for left, *rest in self.faces]
        faces = [make_face(*face) for face in (self.faces if self.reduced_faces is None else self.reduced_faces)]
        return [replace(face, bbox_xyxy=face.bbox_xyxy / k, landmarks_xy=face.landmarks_xy / k) for face in faces]


@pytest.fixture
def analyzer():
    return FakeAnalyzer()


@pytest.fixture
def scanner(analyzer):
    """A scanner of a scene whose first frame shows one large face."""
    scanner = FaceScanner(analyzer)
    scanner.detect(IMAGE, 0.0)
    analyzer.widths.clear()
    return scanner


def lefts(faces):
    return [float(face.bbox_xyxy[0]) for face in faces]


def test_large_faces_are_detected_in_reduced_frames_in_pixels_of_the_frame(analyzer, scanner):
    (face,) = scanner.detect(IMAGE, INTERVAL_S)
    assert analyzer.widths == [REDUCED]
    assert face.bbox_xyxy.tolist() == [100, 100, 260, 260]
    assert face.landmarks_xy.tolist() == [[100, 100]] * 5


@pytest.mark.parametrize(("width", "reduced"), [(854, 427), (1920, 320), (1283, 321)])
def test_frames_are_reduced_by_whole_factors(width, reduced):
    analyzer = FakeAnalyzer(width)
    analyzer.faces = [(100.0, 500.0)]
    scanner = FaceScanner(analyzer)
    image = np.zeros((480, width, 3), dtype=np.uint8)
    for time_s in (0.0, INTERVAL_S):
        faces = scanner.detect(image, time_s)
    assert analyzer.widths == [width, reduced]
    assert lefts(faces) == [100]


def test_the_first_frame_of_a_scene_is_scanned_in_full(analyzer, scanner):
    scanner.restart()
    scanner.detect(IMAGE, INTERVAL_S)
    assert analyzer.widths == [FULL]


@pytest.mark.parametrize("start_s", [0.0, 7200.0])
def test_the_full_frame_is_scanned_about_once_a_second(analyzer, start_s):
    scanner = FaceScanner(analyzer)
    full_s = []
    for number in range(60):
        scanner.detect(IMAGE, start_s + 0.12 * number)
        full_s += [0.12 * number] * (analyzer.widths[-1] == FULL)
    assert np.diff(full_s) == pytest.approx(1.08)


def test_a_large_face_keeps_the_box_of_the_reduced_frame_in_a_full_scan(analyzer, scanner):
    for number in range(1, 25):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [100]
    assert FULL in analyzer.widths


def test_a_small_face_beside_a_large_one_is_found_by_the_next_full_scan(analyzer, scanner):
    analyzer.faces, analyzer.reduced_faces = [LARGE, SMALL], [LARGE]
    for number in range(1, 10):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [100]
    for number in range(10, 30):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [101, 501]
    assert analyzer.widths[10:] == [FULL] * 20


def test_a_small_face_that_is_missed_once_is_looked_for_in_the_next_frame(analyzer, scanner):
    scanner.restart()
    analyzer.faces = [LARGE, SMALL]
    scanner.detect(IMAGE, 0.0)
    analyzer.faces = [LARGE]
    assert lefts(scanner.detect(IMAGE, INTERVAL_S)) == [101]
    analyzer.faces = [LARGE, SMALL]
    assert lefts(scanner.detect(IMAGE, 2 * INTERVAL_S)) == [101, 501]


@pytest.mark.parametrize("faces", [[], [LARGE, SMALL], [UNCERTAIN]], ids=["missing", "small", "uncertain"])
def test_full_frames_are_scanned_for_a_second_where_the_reduced_one_lacks_the_large_face(analyzer, scanner, faces):
    analyzer.reduced_faces = faces
    for number in range(1, 11):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [101]
    assert analyzer.widths == [REDUCED] + [FULL] * 10
    scanner.detect(IMAGE, 12 * INTERVAL_S)
    assert analyzer.widths[11:] == [REDUCED, FULL]


def test_a_face_that_the_full_scan_does_not_confirm_is_not_returned(analyzer, scanner):
    analyzer.reduced_faces = [LARGE, OTHER]
    assert lefts(scanner.detect(IMAGE, INTERVAL_S)) == [101]
    assert analyzer.widths == [REDUCED, FULL]


def test_another_large_face_is_returned_at_once_and_stays_in_reduced_frames(analyzer, scanner):
    analyzer.faces = [LARGE, OTHER]
    for number in (1, 2):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [100, 400]
    assert analyzer.widths == [REDUCED, FULL, REDUCED]


def test_a_large_face_that_leaves_is_gone_at_once(analyzer, scanner):
    analyzer.faces = []
    assert scanner.detect(IMAGE, INTERVAL_S) == []
    assert analyzer.widths == [REDUCED, FULL]


@pytest.mark.parametrize("faces", [[], [SMALL], [LARGE, SMALL], [UNCERTAIN]])
def test_full_frames_are_scanned_without_faces_and_with_small_or_uncertain_ones(analyzer, scanner, faces):
    scanner.restart()
    analyzer.faces = faces
    for number in range(40):
        assert len(scanner.detect(IMAGE, number * INTERVAL_S)) == len(faces)
    assert analyzer.widths == [FULL] * 40


def test_a_face_that_shrinks_a_little_stays_in_reduced_frames(analyzer, scanner):
    analyzer.faces = [(100.0, 100.0)]
    for number in range(1, 20):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [100]
    scanner.restart()
    assert lefts(scanner.detect(IMAGE, 2.0)) == [101]
    assert lefts(scanner.detect(IMAGE, 2.1)) == [101]


def test_frames_below_640_pixels_are_never_reduced(analyzer):
    scanner = FaceScanner(analyzer)
    analyzer.faces = [(10.0, 300.0)]
    for number in range(4):
        scanner.detect(IMAGE[:, :639], number * INTERVAL_S)
    assert analyzer.widths == [639] * 4


def test_frames_are_scanned_in_full_on_request(analyzer, scanner):
    scanner.may_reduce = False
    for number in range(1, 4):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [101]
    assert analyzer.widths == [FULL] * 3


@pytest.mark.parametrize("split", [3, 12, 15])
def test_a_restored_scanner_continues_exactly(analyzer, scanner, split):
    def run(scanner, first, last):
        for number in range(first, last):
            analyzer.reduced_faces = [] if number == 12 else [LARGE]
            scanner.detect(IMAGE, number * INTERVAL_S)

    run(scanner, 1, 40)
    expected = analyzer.widths.copy()
    scanner.restart()
    scanner.detect(IMAGE, 0.0)
    analyzer.widths.clear()
    run(scanner, 1, split)
    other = FaceScanner(analyzer)
    other.restore(scanner.state())
    run(other, split, 40)
    assert analyzer.widths == expected
    assert {FULL, REDUCED} <= set(expected)
