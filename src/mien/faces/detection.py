"""Finding faces: YuNet on ONNX Runtime, decoded in numpy."""

from __future__ import annotations

import math

import numpy as np

from mien.errors import InputError
from mien.geometry import bbox_area, non_maximum_suppression, transform_points
from mien.imaging import check_image, resize
from mien.results import Face
from mien.runtime import load_model

STRIDES = (8, 16, 32)
WHOLE_SIDE = 640
"""Long side in pixels at which YuNet finds all but huge faces; those of more than about 1,000 pixels it misses."""
CLOSE_UP_SIDE = 160
"""Long side in pixels of the last, smallest look, for faces that fill the image."""
CLOSE_UP_PADDING = 0.25
"""Border added around that look, as a share of its long side: YuNet wants room around a face."""
LARGE_FACE = 0.25
"""A smaller look is asked for faces whose longer side is more than this share of the image's ..."""
BIG_FACE = 0.25
"""... and the smallest for those that cover more than this share of its area."""
MAX_CONTAINMENT = 0.7
"""A box of which more lies inside a more confident one is a part of that face, a mouth or one half ..."""
MAX_FRAGMENT_RATIO = 16.0
"""... unless that has more than so many times its area: then it is somebody behind, in the corner of the large box."""
MIN_TURNED = 0.8
"""Least confidence of a face in an image laid on its side; the right way up most have more than 0.9."""

MAX_CANDIDATES = 5000
"""So many of the most confident candidates go into the suppression, whose cost is their number squared."""


class FaceDetector:
    """Finds faces and their five landmarks; safe to call from many threads.

    Args:
        max_size: images are shrunk until their long side has this many pixels. 640 finds faces from 1/40 of
            the long side up to the whole image; take 1280 for crowds.
        min_confidence: least confidence of a face, 0..1.
        nms_iou: of two faces that overlap more than this, the less confident is dropped; so is one that lies for the
            most part inside a more confident one.
        threads: of ONNX Runtime; 0 lets it choose.

    Source:
        Wu, Peng, Yu (2023), "YuNet: A Tiny Millisecond-level Face Detector"; decoding as in OpenCV's
        FaceDetectorYN. New here: smaller looks at the same image, because YuNet misses huge faces or takes their
        parts for faces.
    """

    def __init__(
        self, *, max_size: int = 640, min_confidence: float = 0.6, nms_iou: float = 0.3, threads: int = 0
    ) -> None:
        check_detector_size("max_size", max_size)
        if not 0 < min_confidence < 1:
            raise InputError(f"threshold is {min_confidence}; expected a number between 0 and 1.")
        self.max_size, self.min_confidence, self.nms_iou = max_size, min_confidence, nms_iou
        self._session = load_model("face-detector", task="face-detection", threads=threads).session

    def detect(self, image: np.ndarray, *, rotated: bool = False) -> list[Face]:
        """All faces in an image (H, W, 3) uint8 RGB, largest first; an empty list when there is none.

        Args:
            image: to search.
            rotated: where there is none, search the image laid on either side too.
        """
        check_image(image)
        rows = self._search(image)
        if rotated and not len(rows):
            rows = max((self._search_turned(image, turns) for turns in (1, 3)), key=_best_confidence)
        return [
            Face(bbox_xyxy=row[:4], landmarks_xy=row[4:14].reshape(5, 2), confidence=float(row[14]))
            for row in rows
        ]

    def _search_turned(self, image: np.ndarray, turns: int) -> np.ndarray:
        """Rows of `_search` of an image rotated a quarter so many times, counterclockwise; in pixels of the image."""
        rows = self._search(np.ascontiguousarray(np.rot90(image, turns)))
        rows = rows[rows[:, 14] >= max(self.min_confidence, MIN_TURNED)]
        height, width = image.shape[:2]
        back = np.array(
            [[0, -1, width], [1, 0, 0]] if turns == 1 else [[0, 1, 0], [-1, 0, height]], dtype=np.float32
        )
        points = transform_points(back, rows[:, :14].reshape(-1, 7, 2))
        corners = [points[:, :2].min(axis=1), points[:, :2].max(axis=1)]
        return np.column_stack([*corners, points[:, 2:].reshape(-1, 10), rows[:, 14]]).astype(np.float32)

    def _search(self, image: np.ndarray) -> np.ndarray:
        """Faces (N, 15), largest first: box, landmarks, confidence; in pixels of the image."""
        long_side = max(image.shape[:2])
        side = min(long_side, self.max_size)
        rows = np.empty((0, 15), dtype=np.float32)
        if long_side > CLOSE_UP_SIDE:
            rows = self._look(image, side, padding=0.0)
        if side > WHOLE_SIDE:
            again = self._look(image, WHOLE_SIDE, padding=0.0)
            longer = (again[:, 2:4] - again[:, :2]).max(axis=1)
            rows = np.concatenate([rows, again[longer > LARGE_FACE * long_side]])
        close_up = self._look(image, CLOSE_UP_SIDE, padding=CLOSE_UP_PADDING)
        if len(rows):
            close_up = close_up[bbox_area(close_up[:, :4]) > BIG_FACE * image.shape[0] * image.shape[1]]
        rows = np.concatenate([rows, close_up])
        if len(rows) > MAX_CANDIDATES:
            rows = rows[np.argsort(-rows[:, 14], kind="stable")[:MAX_CANDIDATES]]
        rows = rows[
            non_maximum_suppression(
                rows[:, :4], rows[:, 14], self.nms_iou, MAX_CONTAINMENT, MAX_FRAGMENT_RATIO
            )
        ]
        return rows[np.argsort(-bbox_area(rows[:, :4]), kind="stable")]

    def _look(self, image: np.ndarray, side: int, padding: float) -> np.ndarray:
        """Faces (N, 15) at one scale, before suppression: box, landmarks, confidence; in `image` pixels."""
        scale = side / max(image.shape[:2])
        size_hw = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
        small = image if size_hw == image.shape[:2] else resize(image, size_hw)
        border = round(side * padding)
        tensor = _to_input(small, border)
        outputs = [np.asarray(output)[0] for output in self._session.run(_OUTPUTS, {"input": tensor})]
        rows = _decode(outputs, tensor.shape[3], self.min_confidence)
        to_image = np.array(
            [[image.shape[1] / size_hw[1], 0, 0], [0, image.shape[0] / size_hw[0], 0]], dtype=np.float32
        )
        points = transform_points(to_image, rows[:, :14].reshape(-1, 7, 2) - border)
        return np.column_stack([points.reshape(-1, 14), rows[:, 14]]).astype(np.float32)


def _best_confidence(rows: np.ndarray) -> float:
    return float(rows[:, 14].max(initial=0.0))


def check_detector_size(name: str, side: int) -> None:
    """Refuse a long side at which no faces are searched, by the name that the caller knows it by."""
    if not 64 <= side <= 8192:
        raise InputError(f"{name} is {side}; expected 64..8192 pixels.")


_OUTPUTS = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]


def _to_input(image: np.ndarray, border: int) -> np.ndarray:
    """(1, 3, H, W) float32 BGR, 0..255; black border, black to the right and below up to multiples of 32."""
    height, width = image.shape[0] + 2 * border, image.shape[1] + 2 * border
    tensor = np.zeros((1, 3, math.ceil(height / 32) * 32, math.ceil(width / 32) * 32), dtype=np.float32)
    inside = tensor[0, :, border : border + image.shape[0], border : border + image.shape[1]]
    inside[:] = image[:, :, ::-1].transpose(2, 0, 1)
    return tensor


def _decode(outputs: list[np.ndarray], width: int, min_confidence: float) -> np.ndarray:
    """Candidates (N, 15) over the threshold: box, five landmarks, confidence, in pixels of the input."""
    found = [
        _decode_stride(outputs[4 * place : 4 * place + 4], stride, width // stride, min_confidence)
        for place, stride in enumerate(STRIDES)
    ]
    return np.concatenate(found)


def _decode_stride(outputs: list[np.ndarray], stride: int, columns: int, min_confidence: float) -> np.ndarray:
    classes, objectness, boxes, landmarks = outputs
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objectness[:, 0], 0, 1))
    kept = np.flatnonzero(scores >= min_confidence)
    cells = np.column_stack([kept % columns, kept // columns]).astype(np.float32)
    centers = (cells + boxes[kept, :2]) * stride
    half = np.exp(boxes[kept, 2:]) * stride / 2
    points = (landmarks[kept].reshape(-1, 5, 2) + cells[:, None]) * stride
    return np.column_stack([centers - half, centers + half, points.reshape(-1, 10), scores[kept]])
