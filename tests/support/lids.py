"""Portraits whose eyelids close."""

from __future__ import annotations

import numpy as np

EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133), (46, 53, 52, 65, 55)),
    (
        (362, 398, 384, 385, 386, 387, 388, 466, 263),
        (362, 382, 381, 380, 374, 373, 390, 249, 263),
        (285, 295, 282, 283, 276),
    ),
)
"""Mesh points of each eye from left to right in the image: upper lid, lower lid, and lower edge of the brow."""


def close_lids(image: np.ndarray, mesh_xyz: np.ndarray, share: float) -> np.ndarray:
    """Return an upright portrait (H, W, 3) whose upper lids cover a share 0..1 of the eyes."""
    closed = image.copy()
    for upper, lower, brow in EYES:
        left, right = np.ceil(mesh_xyz[[upper[0], upper[-1]], 0]).astype(int)
        for x in range(left, right):
            lid, bottom, top = (float(np.interp(x, *mesh_xyz[list(line), :2].T)) for line in (upper, lower, brow))
            moved = lid + share * max(bottom - lid, 0.0)
            rows = np.arange(int(np.ceil(top)), int(moved) + 1)
            sources = top + (rows - top) * (lid - top) / (moved - top)
            closed[rows, x] = image[np.round(sources).astype(int), x]
    return closed
