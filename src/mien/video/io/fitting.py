"""Fitting of images into the size of a video: the same aspect ratio, centered between black borders."""

from __future__ import annotations

import numpy as np

from mien.imaging import resize

MAX_STRETCH = 0.01
"""Maximum change of the aspect ratio, to fill the size without narrow borders."""


def limit_side(size_hw: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return a size, downscaled to a longer side of at most `max_side` pixels; None keeps it."""
    scale = min(1.0, max_side / max(size_hw)) if max_side else 1.0
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def fitted_size(image_hw: tuple[int, int], size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size within `size_hw` that has the aspect ratio of an image.

    Example:
        >>> fitted_size((320, 240), (240, 320)), fitted_size((480, 854), (360, 640))
        ((240, 180), (360, 640))
    """
    scales = [inner / outer for inner, outer in zip(size_hw, image_hw, strict=True)]
    if max(scales) <= (1 + MAX_STRETCH) * min(scales):
        return size_hw
    height, width = (max(1, round(side * min(scales))) for side in image_hw)
    return height, width


def center(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return an image (H, W, 3) uint8, not larger than `size_hw`, in the middle of a black one of that size."""
    if image.shape[:2] == size_hw:
        return image
    top, left = ((outer - inner) // 2 for outer, inner in zip(size_hw, image.shape[:2], strict=True))
    centered = np.zeros((*size_hw, 3), dtype=np.uint8)
    centered[top : top + image.shape[0], left : left + image.shape[1]] = image
    return centered


def fit_image(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return an image (H, W, 3) uint8 scaled to a size with its aspect ratio, between black borders where needed."""
    inner_hw = fitted_size((image.shape[0], image.shape[1]), size_hw)
    return center(image if image.shape[:2] == inner_hw else resize(image, inner_hw), size_hw)
