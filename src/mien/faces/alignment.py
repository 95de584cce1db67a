"""The crop that an expression model sees: one function for training, evaluation and every way in.

A model trained on crops framed otherwise than those it is served is the commonest reason why expression
libraries fail on real photographs.
"""

from __future__ import annotations

import numpy as np

from mien.errors import InputError
from mien.geometry import similarity_transform
from mien.imaging import warp

TEMPLATES = {
    "ferplus": np.array(
        [[0.305, 0.385], [0.695, 0.385], [0.500, 0.590], [0.345, 0.755], [0.655, 0.755]],
    ),
}
"""Where the five landmarks (`landmarks_xy` order) come to lie, in a square of side 1.

`ferplus`: the median position of each landmark in the FER+ training faces, made symmetric, so that an aligned
face fills its crop as much as the data set's own framing does (`benchmarks/template.py` measures it).
"""


MARGINS = (-0.2, 2.0)
"""Least and most margin of a model's crops: beyond, a crop shows no face, or next to nothing of it."""


def alignment_matrix(
    landmarks_xy: np.ndarray, size: int, *, template: str = "ferplus", margin: float = 0.0
) -> np.ndarray:
    """The (2, 3) similarity that maps image pixels to the pixels of an aligned crop of `size` x `size`.

    Args:
        landmarks_xy: (5, 2) in the order subject's right eye, left eye, nose, right and left mouth corner.
        size: side of the crop in pixels.
        template: a key of `TEMPLATES`.
        margin: extra room on every side as a share of the template's square; 0.1 shows 20 % more.

    Raises:
        InputError: on an unknown template or landmarks of another shape.
    """
    if template not in TEMPLATES:
        raise InputError(f"no alignment template {template!r}; there are: {', '.join(TEMPLATES)}.")
    if np.shape(landmarks_xy) != (5, 2):
        raise InputError(f"expected landmarks (5, 2), got {np.shape(landmarks_xy)}.")
    target = (TEMPLATES[template] + margin) / (1 + 2 * margin) * size
    return similarity_transform(np.asarray(landmarks_xy, dtype=np.float64), target)


def align_face(
    image: np.ndarray, landmarks_xy: np.ndarray, *, size: int, template: str = "ferplus", margin: float = 0.0
) -> np.ndarray:
    """Cut one face out of an image: upright, centered, (size, size, 3) uint8 RGB. See `alignment_matrix`."""
    matrix = alignment_matrix(landmarks_xy, size, template=template, margin=margin)
    return warp(image, matrix, (size, size))


def letterbox_matrix(size_hw: tuple[int, int], size: int) -> np.ndarray:
    """The (2, 3) transform that fits an image that is itself one face crop into `size` x `size`, centered."""
    height, width = size_hw
    scale = size / max(height, width)
    return np.array(
        [[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]], dtype=np.float64
    )


def letterbox(image: np.ndarray, *, size: int) -> np.ndarray:
    """An image that is itself one face crop, as the model's input: for crops in which no face was found."""
    return warp(image, letterbox_matrix(image.shape[:2], size), (size, size))
