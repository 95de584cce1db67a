"""Detection of the faces of a video: mostly in a reduced frame, which suffices for large faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from mien.faces.detection import CERTAIN_CONFIDENCE, LARGE_LENGTH, REDUCED_SIZE
from mien.imaging import average_blocks
from mien.inference.analyzer import Analyzer
from mien.results import Face

LARGE_LENGTH_AGAIN = 0.15
"""`LARGE_LENGTH` while frames are reduced; lower, so that the kind of scan does not alternate."""
FULL_SCAN_S = 1.0
"""Time from one full scan to the next while frames are reduced, and from a disagreement to the next reduced frame."""


class FaceScanner:
    """Detects the faces of one video, frame by frame.

    While all faces are large and certain, only a reduced frame is scanned. The full frame is scanned when the number of
    faces changes, when one is small or uncertain, and every second. If the two scans then disagree about the number of
    faces, full frames are scanned for a second.

    Args:
        analyzer: detects the faces.

    Attributes:
        may_reduce: False scans every frame in full. A small face that enters beside large ones is then found at once,
            otherwise within about a second.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self.may_reduce = True
        self._analyzer = analyzer
        self.restart()

    def detect(self, image: np.ndarray, timestamp_s: float) -> list[Face]:
        """Return the faces of the next frame, largest first.

        Raises:
            ModelError: when the network fails.
        """
        k = max(image.shape[:2]) // REDUCED_SIZE
        is_reduced = self.may_reduce and k > 1 and self._large_count > 0 and timestamp_s >= self._full_until_s
        min_length = LARGE_LENGTH_AGAIN if is_reduced else LARGE_LENGTH
        quick = self._scan_reduced(image, k) if is_reduced else []
        if not _are_large(quick, image, min_length):
            quick = []
        if is_reduced and len(quick) == self._large_count and timestamp_s < self._full_s + FULL_SCAN_S:
            return quick
        faces = self._analyzer.detect(image, rotated=False)
        self._full_s = timestamp_s
        self._large_count = len(faces) if _are_large(faces, image, min_length) else 0
        if is_reduced and len(quick) == self._large_count > 0:
            # the boxes of the two scans differ a little
            return quick
        if is_reduced or self._large_count == 0:
            self._full_until_s = timestamp_s + FULL_SCAN_S
        return faces

    def restart(self) -> None:
        """Begin a scene: its first frame is scanned in full."""
        self._large_count = 0
        self._full_s = self._full_until_s = 0.0

    def state(self) -> dict[str, Any]:
        """Return everything that later frames depend on, as JSON values, exact."""
        return {"large_count": self._large_count, "full_s": self._full_s, "full_until_s": self._full_until_s}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self._large_count = state["large_count"]
        self._full_s = state["full_s"]
        self._full_until_s = state["full_until_s"]

    def _scan_reduced(self, image: np.ndarray, k: int) -> list[Face]:
        """Return the faces of an image whose blocks of k x k pixels are averaged, in pixels of the image."""
        return [
            replace(face, bbox_xyxy=k * face.bbox_xyxy, landmarks_xy=k * face.landmarks_xy)
            for face in self._analyzer.detect(average_blocks(image, k), rotated=False)
        ]


def _are_large(faces: Iterable[Face], image: np.ndarray, min_length: float) -> bool:
    """Return whether all faces are certain, and at least as long as a share of the image's long side."""
    min_px = min_length * max(image.shape[:2])
    return all(
        face.confidence >= CERTAIN_CONFIDENCE and float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max()) >= min_px
        for face in faces
    )
