"""YuNet face detector on ONNX Runtime, decoded in numpy."""

from __future__ import annotations

import math

import numpy as np

from mien.arguments import check_integer, check_share
from mien.devices import Precision
from mien.errors import InputError
from mien.geometry import bbox_area, duplicates, non_maximum_suppression, transform_points
from mien.imaging import average_blocks, check_image, resize
from mien.results import Face
from mien.runtime import DETECTOR_SIZE, MIN_CONFIDENCE, load_model

SCAN_SIZES = (64, 8192)
"""Minimum and maximum long side, in pixels, at which an image is scanned."""
STRIDES = np.array([8, 16, 32])
"""Side of a cell of the network in pixels of its input; the cells of the smallest stride come first."""
MEDIUM_SIZE = 640
"""Long side, in pixels, of the medium scan. YuNet misses faces above about 1,000 pixels."""
MEDIUM_MIN_LENGTH = 0.25
"""Minimum longer side of a face from the medium scan, as a share of the image's long side."""
COARSE_SIZE = 160
"""Long side, in pixels, of the coarse scan, which finds faces that fill the image."""
COARSE_BORDER = 40
"""Width, in pixels, of the black border around the coarse scan; YuNet needs background around a face."""
COARSE_MIN_AREA = 0.25
"""Minimum area of a face from the coarse scan, as a share of the image's area."""
WEAK_CONFIDENCE = 0.05
"""Confidence of a candidate of the larger scans from which it may be a face that only the coarse scan finds."""
WEAK_MIN_AREA = 0.1
"""Minimum area of such a candidate, as a share of the image's area."""
EXPLAINING_CONFIDENCE = 0.8
"""Minimum confidence of a face that explains such a candidate, as a duplicate or fragment of it."""
REDUCED_SIZE = 320
"""Minimum long side, in pixels, of a reduced image, in which large faces are found in two fifths of the time."""
LARGE_LENGTH = 0.17
"""Minimum longer side of a large face, as a share of the image's long side: 54 pixels in a reduced image of 320."""
CERTAIN_CONFIDENCE = 0.8
"""Minimum confidence of a large face for which a reduced image suffices."""
MAX_CONTAINMENT = 0.7
"""Share of a box inside a more confident box above which it is dropped as a fragment of that face."""
MAX_FRAGMENT_RATIO = 16.0
"""Ratio of the two areas above which a contained box is kept: it is a person in the background."""
MIN_ROTATED_CONFIDENCE = 0.8
"""Minimum confidence of a face in an image rotated by 90 degrees; upright faces mostly have more than 0.9."""
MAX_CANDIDATES = 30_000
"""Number of candidates above which an image is refused; a crowd of 3,000 faces has fewer at the default confidence."""


class FaceDetector:
    """Face detector that returns boxes and five landmarks; thread-safe.

    Args:
        max_side: maximum long side in pixels at which an image is scanned. 640 finds faces from 1/40 of the long
            side up to the whole image; use 1280 for crowds.
        min_confidence: minimum confidence of a face, 0..1.
        nms_iou: IoU above which the less confident of two boxes is dropped. Boxes mostly contained in a more
            confident box are dropped as fragments of that face.
        threads: ONNX Runtime threads; 0 lets it choose.
        device: where the network runs; see `mien.runtime.open_session`.
        precision: float32 or int8 arithmetic; see `mien.runtime.load_model`.

    Attributes:
        network: the loaded model file.

    Source:
        Wu, Peng, Yu (2023), "YuNet: A Tiny Millisecond-level Face Detector"; decoding as in OpenCV's FaceDetectorYN.
        Added here: scans at smaller scales, because YuNet misses huge faces or detects their fragments. The smallest is
        skipped where the others explain the image; on 8,165 images, most with a face that fills them or that was put
        beside one that does, this changed no face. With `max_faces=1` a reduced image suffices for a large face; on
        3,864 such images it shows another face than the full scans in 9. In the 8 that were examined, the full scans
        missed the large face or exceeded it (benchmarks/coarse_scan.py).
    """

    def __init__(
        self,
        *,
        max_side: int = DETECTOR_SIZE,
        min_confidence: float = MIN_CONFIDENCE,
        nms_iou: float = 0.3,
        threads: int = 0,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> None:
        self.max_side = check_detector_size("max_side", max_side)
        self.min_confidence = check_share("min_confidence", min_confidence, with_ends=False, example="0.6")
        self.nms_iou = nms_iou
        self.network = load_model(
            "face-detector", task="face-detection", threads=threads, device=device, precision=precision
        )

    def detect(
        self,
        image: np.ndarray,
        *,
        rotated: bool = False,
        min_confidence: float | None = None,
        max_side: int | None = None,
        max_faces: int | None = None,
    ) -> list[Face]:
        """Return the faces in an image (H, W, 3) uint8 RGB, largest first.

        Args:
            image: image to search.
            rotated: when no face is found, also search the image rotated by 90 degrees either way.
            min_confidence: minimum confidence of a face, 0..1; by default the detector's own.
            max_side: maximum long side of the scan; by default the detector's own.
            max_faces: number of faces to return, the largest; None returns all. One face is found in less time, where
                it is large.
        """
        check_image(image)
        if min_confidence is None:
            min_confidence = self.min_confidence
        if max_side is None:
            max_side = self.max_side
        rows = self._detect_large_face(image, max_side, min_confidence) if max_faces == 1 else _NO_ROWS
        if not len(rows):
            rows = self._detect_multiscale(image, max_side, min_confidence)
        if rotated and not len(rows):
            candidates = [
                self._detect_rotated(image, quarter_turns, max_side, min_confidence) for quarter_turns in (1, 3)
            ]
            rows = max(candidates, key=lambda rows: rows[:, 14].max(initial=0.0))
        return [
            Face(bbox_xyxy=row[:4], landmarks_xy=row[4:14].reshape(5, 2), confidence=float(row[14]))
            for row in rows[:max_faces]
        ]

    def _detect_large_face(self, image: np.ndarray, max_side: int, min_confidence: float) -> np.ndarray:
        """Return the largest face (1, 15) if it is large and certain in a reduced image, otherwise none (0, 15).

        A face that is missed there is smaller, so full scans would return the same one.
        """
        long_side = max(image.shape[:2])
        k = long_side // REDUCED_SIZE
        if min(long_side, max_side) < 2 * REDUCED_SIZE:
            return _NO_ROWS
        rows = self._detect_multiscale(average_blocks(image, k), REDUCED_SIZE, min_confidence)[:1]
        rows[:, :14] *= k
        lengths = (rows[:, 2:4] - rows[:, :2]).max(axis=1)
        return rows[(lengths >= LARGE_LENGTH * long_side) & (rows[:, 14] >= CERTAIN_CONFIDENCE)]

    def _detect_rotated(
        self, image: np.ndarray, quarter_turns: int, max_side: int, min_confidence: float
    ) -> np.ndarray:
        """Return `_detect_multiscale` of the image rotated counterclockwise, in pixels of the original image."""
        rotated = np.ascontiguousarray(np.rot90(image, quarter_turns))
        rows = self._detect_multiscale(rotated, max_side, min_confidence)
        rows = rows[rows[:, 14] >= max(min_confidence, MIN_ROTATED_CONFIDENCE)]
        height, width = image.shape[:2]
        to_image = [[0, -1, width], [1, 0, 0]] if quarter_turns == 1 else [[0, 1, 0], [-1, 0, height]]
        points = transform_points(np.array(to_image, dtype=np.float32), rows[:, :14].reshape(-1, 7, 2))
        corners = [points[:, :2].min(axis=1), points[:, :2].max(axis=1)]
        return np.column_stack([*corners, points[:, 2:].reshape(-1, 10), rows[:, 14]]).astype(np.float32)

    def _detect_multiscale(self, image: np.ndarray, max_side: int, min_confidence: float) -> np.ndarray:
        """Return faces (N, 15), largest first: box, landmarks, confidence; in pixels of the image."""
        long_side = max(image.shape[:2])
        scaled = _resize_to(image, min(long_side, max_side))
        candidates = rows = _NO_ROWS
        if long_side > COARSE_SIZE:
            candidates = self._scan(scaled, 0, image.shape, min(min_confidence, WEAK_CONFIDENCE))
            rows = candidates[candidates[:, 14] >= min_confidence]
        if max(scaled.shape[:2]) > MEDIUM_SIZE:
            scaled = _resize_to(scaled, MEDIUM_SIZE)
            candidates = self._scan(scaled, 0, image.shape, min(min_confidence, WEAK_CONFIDENCE))
            medium = candidates[candidates[:, 14] >= min_confidence]
            lengths = (medium[:, 2:4] - medium[:, :2]).max(axis=1)
            rows = np.concatenate([rows, medium[lengths > MEDIUM_MIN_LENGTH * long_side]])
        image_area = image.shape[0] * image.shape[1]
        if self._is_unexplained(candidates, rows, image_area):
            coarse = self._scan(_resize_to(scaled, COARSE_SIZE), COARSE_BORDER, image.shape, min_confidence)
            if len(rows):
                coarse = coarse[bbox_area(coarse[:, :4]) > COARSE_MIN_AREA * image_area]
            rows = np.concatenate([rows, coarse])
        if len(rows) > MAX_CANDIDATES:
            raise InputError(f"more than {MAX_CANDIDATES:,} possible faces; raise min_confidence ({min_confidence:g}).")
        kept = non_maximum_suppression(rows[:, :4], rows[:, 14], self.nms_iou, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO)
        rows = rows[kept]
        return rows[np.argsort(-bbox_area(rows[:, :4]), kind="stable")]

    def _is_unexplained(self, candidates: np.ndarray, rows: np.ndarray, image_area: int) -> bool:
        """Return whether the coarse scan may find a face that the larger scans missed.

        It may where they found no face, and where a large weak candidate is not part of a confident face.
        """
        weak = candidates[bbox_area(candidates[:, :4]) > WEAK_MIN_AREA * image_area]
        if not len(rows) or not len(weak):
            return not len(rows)
        faces = rows[rows[:, 14] >= EXPLAINING_CONFIDENCE]
        are_explained = duplicates(weak[:, :4], faces[:, :4], self.nms_iou, MAX_CONTAINMENT).any(axis=1)
        return not are_explained.all()

    def _scan(self, scaled: np.ndarray, border: int, shape: tuple[int, ...], min_confidence: float) -> np.ndarray:
        """Return faces (N, 15) found at one scale, before suppression, in pixels of the image.

        Args:
            scaled: (h, w, 3) uint8 RGB, the image at that scale.
            border: width of a black border in pixels of `scaled`.
            shape: height and width of the image come first.
            min_confidence: minimum confidence of a face.
        """
        pixels = _pad(scaled, border)
        confidences, cells = self.network.run(_OUTPUTS, {"images": pixels})
        rows = _decode(confidences[0], cells[0], pixels.shape[1:3], min_confidence)
        rows[:, :14] -= border
        rows[:, 0:14:2] *= shape[1] / scaled.shape[1]
        rows[:, 1:14:2] *= shape[0] / scaled.shape[0]
        return rows


def check_detector_size(name: str, size: int) -> int:
    """Return a supported scan size; raise `InputError` on another value of the caller's argument `name`."""
    return check_integer(name, size, *SCAN_SIZES, meaning="pixels")


_OUTPUTS = ["confidences", "cells"]
_NO_ROWS = np.empty((0, 15), dtype=np.float32)


def _resize_to(image: np.ndarray, long_side: int) -> np.ndarray:
    """Resize an image to a long side; return it unchanged if that is its own."""
    scale = long_side / max(image.shape[:2])
    size_hw = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    return image if size_hw == image.shape[:2] else resize(image, size_hw)


def _pad(image: np.ndarray, border: int) -> np.ndarray:
    """Return (1, H, W, 3) uint8 with a black border, padded to multiples of 32 at right and bottom."""
    height, width = image.shape[0] + 2 * border, image.shape[1] + 2 * border
    if not border and not height % 32 and not width % 32:
        return np.ascontiguousarray(image)[None]
    pixels = np.zeros((1, math.ceil(height / 32) * 32, math.ceil(width / 32) * 32, 3), dtype=np.uint8)
    pixels[0, border : border + image.shape[0], border : border + image.shape[1]] = image
    return pixels


def _decode(confidences: np.ndarray, cells: np.ndarray, size_hw: tuple[int, ...], min_confidence: float) -> np.ndarray:
    """Return candidates (N, 15) float32: box, five landmarks, confidence; in pixels of the input.

    Args:
        confidences: (C,) of the cells of all strides.
        cells: (C, 16), each with two logits, box and landmarks.
        size_hw: height and width of the input.
        min_confidence: minimum confidence of a candidate.
    """
    kept = np.flatnonzero(confidences >= min_confidence)
    columns = size_hw[1] // STRIDES
    counts = size_hw[0] // STRIDES * columns
    ends = counts.cumsum()
    level = ends.searchsorted(kept, side="right")
    row, column = np.divmod(kept - (ends - counts)[level], columns[level])
    corner = np.column_stack([column, row]).astype(np.float32)
    stride = STRIDES[level].astype(np.float32)[:, None]
    values = cells[kept]
    centers = (corner + values[:, 2:4]) * stride
    half_sizes = np.exp(values[:, 4:6]) * stride / 2
    points = (values[:, 6:] + np.tile(corner, 5)) * stride
    return np.column_stack([centers - half_sizes, centers + half_sizes, points, confidences[kept]])
