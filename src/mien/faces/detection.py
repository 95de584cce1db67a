"""YuNet face detector on ONNX Runtime, decoded in numpy."""

from __future__ import annotations

import math

import numpy as np

from mien.arguments import check_integer, check_share
from mien.errors import InputError
from mien.geometry import bbox_area, non_maximum_suppression, transform_points
from mien.imaging import check_image, resize
from mien.results import Face
from mien.runtime import load_model

DETECTOR_SIZE = 640
"""Default maximum long side, in pixels, at which an image is scanned."""
SCAN_SIZES = (64, 8192)
"""Minimum and maximum long side, in pixels, at which an image is scanned."""
STRIDES = (8, 16, 32)
MEDIUM_SIZE = 640
"""Long side, in pixels, of the medium scan. YuNet misses faces above about 1,000 pixels."""
MEDIUM_MIN_LENGTH = 0.25
"""Minimum longer side of a face from the medium scan, as a share of the image's long side."""
COARSE_SIZE = 160
"""Long side, in pixels, of the coarse scan, which finds faces that fill the image."""
COARSE_PADDING = 0.25
"""Border around the coarse scan as a share of its long side; YuNet needs background around a face."""
COARSE_MIN_AREA = 0.25
"""Minimum area of a face from the coarse scan, as a share of the image's area."""
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

    Source:
        Wu, Peng, Yu (2023), "YuNet: A Tiny Millisecond-level Face Detector"; decoding as in OpenCV's FaceDetectorYN.
        Added here: scans at smaller scales, because YuNet misses huge faces or detects their fragments.
    """

    def __init__(
        self, *, max_side: int = DETECTOR_SIZE, min_confidence: float = 0.6, nms_iou: float = 0.3, threads: int = 0
    ) -> None:
        self.max_side = check_detector_size("max_side", max_side)
        self.min_confidence = check_share("min_confidence", min_confidence, with_ends=False, example="0.6")
        self.nms_iou = nms_iou
        self._session = load_model("face-detector", task="face-detection", threads=threads).session

    def detect(
        self,
        image: np.ndarray,
        *,
        rotated: bool = False,
        min_confidence: float | None = None,
        max_side: int | None = None,
    ) -> list[Face]:
        """Return the faces in an image (H, W, 3) uint8 RGB, largest first.

        Args:
            image: image to search.
            rotated: when no face is found, also search the image rotated by 90 degrees either way.
            min_confidence: minimum confidence of a face, 0..1; by default the detector's own.
            max_side: maximum long side of the scan; by default the detector's own.
        """
        check_image(image)
        if min_confidence is None:
            min_confidence = self.min_confidence
        if max_side is None:
            max_side = self.max_side
        rows = self._detect_multiscale(image, max_side, min_confidence)
        if rotated and not len(rows):
            candidates = [
                self._detect_rotated(image, quarter_turns, max_side, min_confidence) for quarter_turns in (1, 3)
            ]
            rows = max(candidates, key=lambda rows: rows[:, 14].max(initial=0.0))
        return [
            Face(bbox_xyxy=row[:4], landmarks_xy=row[4:14].reshape(5, 2), confidence=float(row[14])) for row in rows
        ]

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
        size = min(long_side, max_side)
        rows = np.empty((0, 15), dtype=np.float32)
        if long_side > COARSE_SIZE:
            rows = self._scan(image, size, 0.0, min_confidence)
        if size > MEDIUM_SIZE:
            medium = self._scan(image, MEDIUM_SIZE, 0.0, min_confidence)
            lengths = (medium[:, 2:4] - medium[:, :2]).max(axis=1)
            rows = np.concatenate([rows, medium[lengths > MEDIUM_MIN_LENGTH * long_side]])
        coarse = self._scan(image, COARSE_SIZE, COARSE_PADDING, min_confidence)
        if len(rows):
            coarse = coarse[bbox_area(coarse[:, :4]) > COARSE_MIN_AREA * image.shape[0] * image.shape[1]]
        rows = np.concatenate([rows, coarse])
        if len(rows) > MAX_CANDIDATES:
            raise InputError(f"more than {MAX_CANDIDATES:,} possible faces; raise min_confidence ({min_confidence:g}).")
        kept = non_maximum_suppression(rows[:, :4], rows[:, 14], self.nms_iou, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO)
        rows = rows[kept]
        return rows[np.argsort(-bbox_area(rows[:, :4]), kind="stable")]

    def _scan(self, image: np.ndarray, size: int, padding: float, min_confidence: float) -> np.ndarray:
        """Return faces (N, 15) found at one scale, before suppression, in pixels of the image."""
        scale = size / max(image.shape[:2])
        size_hw = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
        resized = image if size_hw == image.shape[:2] else resize(image, size_hw)
        border = round(size * padding)
        tensor = _to_input(resized, border)
        outputs = [np.asarray(output)[0] for output in self._session.run(_OUTPUTS, {"input": tensor})]
        rows = _decode(outputs, tensor.shape[3], min_confidence)
        to_image = np.array(
            [[image.shape[1] / size_hw[1], 0, 0], [0, image.shape[0] / size_hw[0], 0]], dtype=np.float32
        )
        points = transform_points(to_image, rows[:, :14].reshape(-1, 7, 2) - border)
        return np.column_stack([points.reshape(-1, 14), rows[:, 14]]).astype(np.float32)


def check_detector_size(name: str, size: int) -> int:
    """Return a supported scan size; raise `InputError` on another value of the caller's argument `name`."""
    return check_integer(name, size, *SCAN_SIZES, meaning="pixels")


_OUTPUTS = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]


def _to_input(image: np.ndarray, border: int) -> np.ndarray:
    """Return (1, 3, H, W) float32 BGR, 0..255, with a black border, padded to multiples of 32 at right and bottom."""
    height, width = image.shape[0] + 2 * border, image.shape[1] + 2 * border
    tensor = np.zeros((1, 3, math.ceil(height / 32) * 32, math.ceil(width / 32) * 32), dtype=np.float32)
    inside = tensor[0, :, border : border + image.shape[0], border : border + image.shape[1]]
    inside[:] = image[:, :, ::-1].transpose(2, 0, 1)
    return tensor


def _decode(outputs: list[np.ndarray], width: int, min_confidence: float) -> np.ndarray:
    """Return candidates (N, 15): box, five landmarks, confidence; in pixels of the input."""
    return np.concatenate(
        [
            _decode_stride(outputs[4 * index : 4 * index + 4], stride, width // stride, min_confidence)
            for index, stride in enumerate(STRIDES)
        ]
    )


def _decode_stride(outputs: list[np.ndarray], stride: int, columns: int, min_confidence: float) -> np.ndarray:
    classes, objectness, boxes, landmarks = outputs
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objectness[:, 0], 0, 1))
    kept = np.flatnonzero(scores >= min_confidence)
    cells = np.column_stack([kept % columns, kept // columns]).astype(np.float32)
    centers = (cells + boxes[kept, :2]) * stride
    half_sizes = np.exp(boxes[kept, 2:]) * stride / 2
    points = (landmarks[kept].reshape(-1, 5, 2) + cells[:, None]) * stride
    return np.column_stack([centers - half_sizes, centers + half_sizes, points.reshape(-1, 10), scores[kept]])
