"""Scene cut detection from the layout and the colors of subsampled frames."""

from __future__ import annotations

from typing import Any

import numpy as np

CELLS_HW = (12, 16)
"""Grid of cells, down and across; their mean colors are the layout of an image."""
SAMPLES = 4
"""Sampled pixels of a cell, down and across."""
LEVELS = 4
"""Levels of red, green and blue in the color histogram, which has 64 bins."""
MIN_CONTRAST = 6.0
"""Minimum standard deviation of the cells (0..255); a frame below it is blank: black, white or plain."""
MAX_LAYOUT_CHANGE = 0.4
"""Maximum layout change within a scene: 1 minus the correlation of two layouts."""
MAX_COLOR_CHANGE = 0.2
"""Maximum color change within a scene: share of the pixels outside the intersection of two histograms."""


class CutDetector:
    """Detects the first frame of each scene.

    A cut changes the layout and the colors at once. A flash keeps the layout (changes up to 0.2 where the light
    doubles), a pan by a fifth of the width keeps most colors (changes up to 0.17), and a face that crosses the image
    changes little of either. Blank frames are ignored: the next frame is compared with the one before them. A slow
    fade between two scenes is not detected, nor is a step to another part of the same view.
    """

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def is_cut(self, image: np.ndarray) -> bool:
        """Return True when a frame begins a new scene; the first frame does not.

        Args:
            image: (H, W, 3) uint8 RGB; all frames in order.
        """
        # Pixels spread evenly over the image, SAMPLES x SAMPLES of each cell.
        rows, columns = (
            ((np.arange(cells * SAMPLES) + 0.5) * side / (cells * SAMPLES)).astype(np.intp)
            for cells, side in zip(CELLS_HW, image.shape[:2], strict=True)
        )
        samples = image[rows[:, None], columns]
        cells = samples.reshape(CELLS_HW[0], SAMPLES, CELLS_HW[1], SAMPLES, 3).mean(axis=(1, 3))
        if cells.std(axis=(0, 1)).max() < MIN_CONTRAST:
            return False
        # A unit vector with zero mean, independent of brightness and contrast.
        layout = (cells - cells.mean(axis=(0, 1))).ravel()
        layout /= np.sqrt((layout**2).sum())
        histogram = _color_histogram(samples)
        last, self._last = self._last, (layout, histogram)
        if last is None:
            return False
        layout_change = 1 - float((layout * last[0]).sum())
        color_change = 1 - float(np.minimum(histogram, last[1]).sum())
        return layout_change > MAX_LAYOUT_CHANGE and color_change > MAX_COLOR_CHANGE

    def state(self) -> dict[str, Any]:
        """Return layout and histogram of the last frame as JSON values, exact."""
        return {"layout": self._last[0].tolist(), "histogram": self._last[1].tolist()} if self._last else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self._last = (np.array(state["layout"]), np.array(state["histogram"])) if state else None


def _color_histogram(samples: np.ndarray) -> np.ndarray:
    """Return the share of the pixels in each color bin, (64,) float64, summing to 1."""
    levels = (samples // (256 // LEVELS)).reshape(-1, 3).astype(np.intp)
    bins = (levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2]
    return np.bincount(bins, minlength=LEVELS**3) / len(bins)
