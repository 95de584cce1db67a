"""YuNet decoding compared with OpenCV's `FaceDetectorYN` on the same padded pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.faces import FaceDetector
from mien.geometry import non_maximum_suppression
from mien.imaging import resize
from support.images import mirrored, photo_wall, portrait

cv2 = pytest.importorskip("cv2")

PUBLISHED = Path(__file__).parent / "yunet.onnx"
"""YuNet of the OpenCV model zoo with dynamic height and width, of which the shipped graph is a rewritten version."""

IMAGES = {
    "astronaut": lambda: portrait("astronaut"),
    "obama": lambda: resize(portrait("obama"), (640, 512)),
    "mirrored": lambda: mirrored(portrait("astronaut")),
    "group": lambda: photo_wall(),
    "odd size": lambda: photo_wall()[3:640, 5:1000],
}


def reference_rows(image: np.ndarray) -> np.ndarray:
    """Detect with OpenCV: box xyxy, landmarks, confidence (N, 15), most confident first."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)))  # as OpenCV pads
    size = padded.shape[1::-1]
    reference = cv2.FaceDetectorYN.create(str(PUBLISHED), "", size, 0.6, 0.3, 5000)
    _, rows = reference.detect(np.ascontiguousarray(padded[:, :, ::-1]))
    rows = np.empty((0, 15)) if rows is None else rows.copy()
    rows[:, 2:4] += rows[:, :2]
    return rows[np.argsort(-rows[:, 14])]


@pytest.mark.parametrize("name", IMAGES)
def test_single_scan_matches_opencv(name: str):
    image = IMAGES[name]()
    expected = reference_rows(image)
    rows = FaceDetector(threads=1)._scan(image, 0, image.shape, min_confidence=0.6)
    rows = rows[non_maximum_suppression(rows[:, :4], rows[:, 14], 0.3)]
    assert len(expected) > 0
    np.testing.assert_allclose(rows[:, :14], expected[:, :14], atol=1e-2)
    np.testing.assert_allclose(rows[:, 14], expected[:, 14], atol=1e-5)
