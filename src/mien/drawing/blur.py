"""Faces hidden behind a few flat cells, which cannot be reversed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mien.drawing.blur_mode import BlurMode
from mien.results import Face

CELLS = 4
"""Number of cells along the longer side of a hidden area."""
BLUR_SCALE = 1.6
"""Side of a hidden area as a multiple of the face's box: ears, chin and most of the hair are hidden too."""
COLOR_STEP = 16
"""Colors of cells are rounded to multiples: the cells of a moving face do not add up to an image."""


def blur_faces(image: np.ndarray, faces: Sequence[Face], mode: BlurMode | None) -> np.ndarray:
    """Return a copy of an image with hidden faces; the image itself without a mode.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        faces: all faces of the image.
        mode: "others" hides all faces but the one with the largest box.
    """
    if mode is None:
        return image
    boxes = np.array([face.bbox_xyxy for face in faces], dtype=np.float64).reshape(-1, 4)
    if mode == "others" and len(boxes):
        boxes = np.delete(boxes, box_areas(boxes).argmax(), axis=0)
    return pixelate(image, boxes)


def pixelate(image: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """Replace enlarged boxes by `CELLS` x `CELLS` flat cells or fewer; everything else in them is lost.

    Args:
        image: (H, W, 3) uint8 RGB; not modified.
        boxes_xyxy: (N, 4) boxes of faces in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    canvas = Image.fromarray(image)
    for box in boxes_xyxy:
        center = (box[:2] + box[2:]) / 2
        reach = (box[2:] - box[:2]) / 2 * BLUR_SCALE
        left, top = (max(0, math.floor(value)) for value in center - reach)
        right = min(canvas.width, math.ceil(center[0] + reach[0]))
        bottom = min(canvas.height, math.ceil(center[1] + reach[1]))
        if right > left and bottom > top:
            canvas.paste(_flat_cells(canvas.crop((left, top, right, bottom))), (left, top))
    return np.array(canvas)


def box_areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return the areas (N,) of boxes (N, 4) in square pixels."""
    return np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)


def _flat_cells(patch: Image.Image) -> Image.Image:
    """Return a patch as flat cells of rounded mean colors."""
    longer = max(patch.size)
    cells = [max(1, round(CELLS * side / longer)) for side in patch.size]
    means = np.array(patch.resize((cells[0], cells[1]), Image.Resampling.BOX))
    rounded = Image.fromarray(means // COLOR_STEP * COLOR_STEP + COLOR_STEP // 2)
    return rounded.resize(patch.size, Image.Resampling.NEAREST)
