"""Where one scene ends and the next begins: the image changes as a whole from one frame to the next."""

from __future__ import annotations

from typing import Any

import numpy as np

CELLS_HW = (12, 16)
"""An image's layout is the mean colors of so many cells, down and across."""
SAMPLES = 4
"""Pixels that are looked at in each cell, down and across."""
LEVELS = 4
"""Steps of red, green and blue in the histogram of colors: 64 bins."""
FLAT = 6.0
"""An image whose cells differ less than this (standard deviation of 0..255) shows nothing: it is black or white."""
LAYOUT_CHANGE = 0.4
"""1 minus the correlation of two layouts, above which nothing is where it was."""
COLOR_CHANGE = 0.2
"""Share of the pixels with other colors than before, above which it is another place."""


class CutDetector:
    """Tells where a new scene begins, from very small copies of the images.

    A cut changes the layout AND the colors at once. A flash keeps the layout (changes of 0.2 at most where the light
    doubles), a pan by a fifth of the width most of the colors (0.17 at most), a face that crosses changes little of
    either. Frames that show nothing (black, white) are passed over: what follows them is compared with what came
    before. A slow fade between two scenes goes unnoticed, and so does a step to another part of the same view.
    """

    def __init__(self) -> None:
        self._layout: np.ndarray | None = None
        self._colors: np.ndarray | None = None

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether this frame, (H, W, 3) uint8 RGB, begins a new scene; to be asked of every frame in turn.

        The first frame begins none.
        """
        samples = _samples(image)
        cells = samples.reshape(CELLS_HW[0], SAMPLES, CELLS_HW[1], SAMPLES, 3).mean(axis=(1, 3))
        if cells.std(axis=(0, 1)).max() < FLAT:
            return False
        layout, colors = _layout(cells), _colors(samples)
        before, colors_before = self._layout, self._colors
        self._layout, self._colors = layout, colors
        if before is None or colors_before is None:
            return False
        layout_change = 1 - float((layout * before).sum())
        color_change = 1 - float(np.minimum(colors, colors_before).sum())
        return layout_change > LAYOUT_CHANGE and color_change > COLOR_CHANGE

    def state(self) -> dict[str, Any]:
        """What is remembered of the last frame, as plain JSON values, exact."""
        if self._layout is None or self._colors is None:
            return {}
        return {"layout": self._layout.tolist(), "colors": self._colors.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._layout = np.array(state["layout"]) if state else None
        self._colors = np.array(state["colors"]) if state else None


def _samples(image: np.ndarray) -> np.ndarray:
    """Pixels (rows, columns, 3) uint8 evenly spread over the image, SAMPLES x SAMPLES for every cell."""
    rows, columns = (
        ((np.arange(cells * SAMPLES) + 0.5) * side / (cells * SAMPLES)).astype(np.intp)
        for cells, side in zip(CELLS_HW, image.shape[:2], strict=True)
    )
    return image[rows[:, None], columns]


def _layout(cells: np.ndarray) -> np.ndarray:
    """The cells' colors without their mean, as one vector of length 1: neither light nor contrast counts."""
    centered = (cells - cells.mean(axis=(0, 1))).ravel()
    return centered / np.sqrt((centered**2).sum())


def _colors(samples: np.ndarray) -> np.ndarray:
    """Share of the pixels in each bin of color, (64,) float64, summing to 1."""
    steps = (samples // (256 // LEVELS)).reshape(-1, 3).astype(np.intp)
    bins = (steps[:, 0] * LEVELS + steps[:, 1]) * LEVELS + steps[:, 2]
    return np.bincount(bins, minlength=LEVELS**3) / len(bins)
