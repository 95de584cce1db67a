"""Face scanner: when frames are scanned reduced and in full, and whose faces are returned."""

from __future__ import annotations

import numpy as np
import pytest

from mien.results import Face
from mien.video.scanning import FULL_SCAN_S, FaceScanner

INTERVAL_S = 0.1
IMAGE = np.zeros((480, 640, 3), dtype=np.uint8)
FULL, QUICK = 640, 320
LARGE, SMALL = (100.0, 100.0, 160.0), (500.0, 300.0, 40.0)
"""Left, top and side of a face in pixels of the frame."""


def make_face(left, top, side, confidence=0.95):
    corners = np.array([left, top, left + side, top + side], dtype=np.float32)
    return Face(bbox_xyxy=corners, landmarks_xy=np.full((5, 2), left + side / 2, np.float32), confidence=confidence)


class FakeAnalyzer:
    """An `Analyzer` whose faces are those of the frame, moved a little in full scans; records the widths it scans."""

    def __init__(self):
        self.faces, self.quick_faces, self.widths = [LARGE], None, []

    def detect(self, image, *, rotated):
        assert not rotated
        self.widths.append(image.shape[1])
        k = FULL // image.shape[1]
        faces = self.faces if k == 1 or self.quick_faces is None else self.quick_faces
        return [
            make_face(left / k + (k == 1), top / k, side / k, *confidence) for left, top, side, *confidence in faces
        ]


@pytest.fixture
def analyzer():
    return FakeAnalyzer()


@pytest.fixture
def scanner(analyzer):
    scanner = FaceScanner(analyzer)
    scanner.detect(IMAGE, 0.0)
    analyzer.widths.clear()
    return scanner


def lefts(faces):
    return [float(face.bbox_xyxy[0]) for face in faces]


def test_large_faces_are_found_in_reduced_frames_in_pixels_of_the_frame(analyzer, scanner):
    (face,) = scanner.detect(IMAGE, INTERVAL_S)
    assert analyzer.widths == [QUICK]
    assert face.bbox_xyxy.tolist() == [100, 100, 260, 260]
    assert face.landmarks_xy.tolist() == [[180, 180]] * 5


def test_the_first_frame_of_a_scene_is_scanned_in_full(analyzer, scanner):
    scanner.restart()
    scanner.detect(IMAGE, INTERVAL_S)
    assert analyzer.widths == [FULL]


def test_two_full_scans_are_at_most_a_second_apart(analyzer, scanner):
    full_s = [0.0]
    for number in range(1, 40):
        time_s = 0.12 * number
        scanner.detect(IMAGE, time_s)
        full_s += [time_s] * (FULL in analyzer.widths)
        analyzer.widths.clear()
    gaps_s = np.diff(full_s)
    assert gaps_s.max() <= FULL_SCAN_S + 1e-9
    assert gaps_s.min() > FULL_SCAN_S - 0.12


def test_every_frame_is_scanned_in_full_where_frames_are_far_apart(analyzer, scanner):
    for number in range(1, 6):
        scanner.detect(IMAGE, 0.6 * number)
    assert analyzer.widths.count(FULL) == 5


def test_a_large_face_keeps_the_box_of_the_quick_scan_in_a_full_scan(analyzer, scanner):
    analyzer.faces = [LARGE, SMALL]
    analyzer.quick_faces = [LARGE]
    for number in range(1, 10):
        assert lefts(scanner.detect(IMAGE, number * INTERVAL_S)) == [100]
    assert lefts(scanner.detect(IMAGE, FULL_SCAN_S)) == [100, 501]
    assert analyzer.widths[-2:] == [QUICK, FULL]


@pytest.mark.parametrize("found", [[], [LARGE, SMALL], [(*LARGE, 0.7)]], ids=["missing", "small", "uncertain"])
def test_a_quick_scan_that_misses_a_face_or_finds_another_kind_is_followed_by_a_full_one(analyzer, scanner, found):
    analyzer.faces, analyzer.quick_faces = [LARGE, SMALL], found
    assert len(scanner.detect(IMAGE, INTERVAL_S)) == 2
    assert analyzer.widths == [QUICK, FULL]


@pytest.mark.parametrize("faces", [[], [SMALL], [LARGE, SMALL], [(*LARGE, 0.7)]])
def test_frames_are_scanned_in_full_without_faces_and_with_small_or_uncertain_ones(analyzer, scanner, faces):
    scanner.restart()
    analyzer.faces = faces
    for number in range(4):
        assert len(scanner.detect(IMAGE, number * INTERVAL_S)) == len(faces)
    assert analyzer.widths == [FULL] * 4


def test_another_large_face_is_returned_at_once(analyzer, scanner):
    analyzer.faces = [LARGE, (400.0, 100.0, 150.0)]
    assert lefts(scanner.detect(IMAGE, INTERVAL_S)) == [100, 400]
    assert analyzer.widths == [QUICK]


def test_a_face_that_shrinks_a_little_stays_with_the_quick_scan(analyzer, scanner):
    analyzer.faces = [(100.0, 100.0, 100.0)]
    scanner.detect(IMAGE, INTERVAL_S)
    assert analyzer.widths == [QUICK]
    scanner.restart()
    scanner.detect(IMAGE, 2 * INTERVAL_S)
    scanner.detect(IMAGE, 3 * INTERVAL_S)
    assert analyzer.widths == [QUICK, FULL, FULL]


def test_small_frames_are_never_reduced(analyzer):
    scanner = FaceScanner(analyzer)
    analyzer.faces = [(10.0, 10.0, 300.0)]
    for number in range(4):
        scanner.detect(IMAGE[:400, :600], number * INTERVAL_S)
    assert analyzer.widths == [600] * 4


def test_a_restored_scanner_continues_exactly(analyzer, scanner):
    other = FaceScanner(FakeAnalyzer())
    other.restore(scanner.state())
    for number in range(1, 12):
        first, second = scanner.detect(IMAGE, number * INTERVAL_S), other.detect(IMAGE, number * INTERVAL_S)
        assert lefts(first) == lefts(second)
    assert scanner.state() == other.state()
