"""Detection of the faces of a video: mostly in a reduced frame, which suffices for large faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mien.faces.attributes import DOUBTFUL_CONFIDENCE
from mien.faces.detection import MAX_CONTAINMENT, MAX_FRAGMENT_RATIO
from mien.geometry import bbox_area, duplicates
from mien.imaging import average_blocks
from mien.inference.analyzer import Analyzer
from mien.results import Face

QUICK_SIZE = 320
"""Minimum long side, in pixels, of the reduced frame; its scan takes two fifths of the time of one at 640 pixels."""
MIN_LENGTH = 0.17
"""Minimum longer side of a large face, as a share of the frame's long side: 54 pixels in a reduced frame of 320."""
KEPT_LENGTH = 0.15
"""The same for a face of a quick scan; lower, so that a face does not alternate between the scans."""
FULL_SCAN_S = 1.0
"""Maximum time between two full scans, in seconds, where detections are more frequent: a tiny newcomer beside large
faces may be found that much later."""
MAX_IOU = 0.3
"""Overlap above which a face of a full scan is one that the quick scan has found."""


class FaceScanner:
    """Detects the faces of one video, frame by frame.

    While every face is large and certain, a quick scan of the reduced frame suffices. The frame is scanned in full when
    the quick scan misses a face or finds another kind, when there is no face, and every second. Large faces are those
    of the quick scan then too, because the boxes of the two scans differ a little.

    Args:
        analyzer: detects the faces.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self.restart()

    def detect(self, image: np.ndarray, timestamp_s: float) -> list[Face]:
        """Return the faces of the next frame, largest first.

        Raises:
            ModelError: when the network fails.
        """
        is_due = timestamp_s + (timestamp_s - self._last_s) - self._full_s > FULL_SCAN_S
        self._last_s = timestamp_s
        found, large = [], []
        k = max(image.shape[:2]) // QUICK_SIZE
        if self._large_count and k > 1:
            found = self._scan_reduced(image, k)
            large = [face for face in found if _is_large(face, image, KEPT_LENGTH)]
        if is_due or not len(found) == len(large) >= self._large_count > 0:
            self._full_s = timestamp_s
            found = _add_missing(large, self._analyzer.detect(image, rotated=False))
        min_length = KEPT_LENGTH if large else MIN_LENGTH
        self._large_count = len(found) if all(_is_large(face, image, min_length) for face in found) else 0
        return found

    def restart(self) -> None:
        """Begin a scene: its first frame is scanned in full."""
        self._large_count = 0
        self._last_s = self._full_s = 0.0

    def state(self) -> dict[str, Any]:
        """Return everything that later frames depend on, as JSON values, exact."""
        return {"large_count": self._large_count, "last_s": self._last_s, "full_s": self._full_s}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self._large_count = state["large_count"]
        self._last_s = state["last_s"]
        self._full_s = state["full_s"]

    def _scan_reduced(self, image: np.ndarray, k: int) -> list[Face]:
        """Return the faces of an image whose blocks of k x k pixels are averaged, in pixels of the image."""
        return [
            replace(face, bbox_xyxy=k * face.bbox_xyxy, landmarks_xy=k * face.landmarks_xy)
            for face in self._analyzer.detect(average_blocks(image, k), rotated=False)
        ]


def _add_missing(quick: Sequence[Face], full: Sequence[Face]) -> list[Face]:
    """Return the faces of a quick scan, and those of a full scan that are not among them, largest first."""
    if not quick or not full:
        return [*quick, *full]
    full_xyxy, quick_xyxy = (np.stack([face.bbox_xyxy for face in faces]) for faces in (full, quick))
    overlaps = duplicates(full_xyxy, quick_xyxy, MAX_IOU, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO)
    missing = [face for face, row in zip(full, overlaps, strict=True) if not row.any()]
    return sorted([*quick, *missing], key=lambda face: -float(bbox_area(face.bbox_xyxy[None])[0]))


def _is_large(face: Face, image: np.ndarray, min_length: float) -> bool:
    """Return whether a face is certain, and at least as long as a share of the image's long side."""
    length = float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())
    return face.confidence >= DOUBTFUL_CONFIDENCE and length >= min_length * max(image.shape[:2])
