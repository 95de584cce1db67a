"""Face alignment: the crop that an expression model takes as input.

Training, evaluation, inference and the server share these functions. A model must be served the framing that it was
trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.errors import InputError
from mien.geometry import similarity_transform
from mien.imaging import warp

TEMPLATES = {"ferplus": np.array([[0.305, 0.385], [0.695, 0.385], [0.500, 0.590], [0.345, 0.755], [0.655, 0.755]])}
"""Target positions of the five landmarks (`landmarks_xy` order) in a unit square.

`ferplus`: the median position of each landmark in the FER+ training faces, made symmetric, so that an aligned
face fills its crop as in the data set's own framing (measured by `benchmarks/template.py`).
"""

MARGINS = (-0.2, 2.0)
"""Smallest and largest crop margin of a model; outside this range a crop shows hardly any face."""


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Arguments of `align_face` that determine which part of a face a crop shows, and at which size."""

    size: int
    template: str = "ferplus"
    margin: float = 0.0


def alignment_matrix(
    landmarks_xy: np.ndarray, size: int, *, template: str = "ferplus", margin: float = 0.0
) -> np.ndarray:
    """Return the (2, 3) similarity that maps image pixels to the pixels of an aligned `size` x `size` crop.

    Args:
        landmarks_xy: (5, 2) in the order subject's right eye, left eye, nose, right and left mouth corner.
        size: side of the crop in pixels.
        template: key of `TEMPLATES`.
        margin: extra border on every side as a share of the template's square; 0.1 shows 20 % more.

    Raises:
        InputError: on an unknown template or landmarks of another shape.
    """
    if template not in TEMPLATES:
        raise InputError(f"unknown alignment template {template!r}; expected one of: {', '.join(TEMPLATES)}.")
    if np.shape(landmarks_xy) != (5, 2):
        raise InputError(f"expected landmarks (5, 2), got {np.shape(landmarks_xy)}.")
    target = (TEMPLATES[template] + margin) / (1 + 2 * margin) * size
    return similarity_transform(np.asarray(landmarks_xy, dtype=np.float64), target)


def align_face(
    image: np.ndarray, landmarks_xy: np.ndarray, *, size: int, template: str = "ferplus", margin: float = 0.0
) -> np.ndarray:
    """Crop a face upright and centered, as (size, size, 3) uint8 RGB; arguments as in `alignment_matrix`."""
    matrix = alignment_matrix(landmarks_xy, size, template=template, margin=margin)
    return warp(image, matrix, (size, size))


def letterbox_matrix(size_hw: tuple[int, int], size: int) -> np.ndarray:
    """Return the (2, 3) transform that fits an image of `size_hw` into `size` x `size`, centered."""
    height, width = size_hw
    scale = size / max(height, width)
    return np.array([[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]], dtype=np.float64)


def letterbox(image: np.ndarray, *, size: int) -> np.ndarray:
    """Fit an image that is already a face crop into (size, size, 3), without detection; edges are repeated."""
    return warp(image, letterbox_matrix(image.shape[:2], size), (size, size))
