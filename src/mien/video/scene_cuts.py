"""Scene cut detection from the layout and the details of subsampled frames, at any brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

CELLS_HW = (12, 16)
"""Grid of cells, down and across; their mean colors are the layout of an image."""
SAMPLES = 4
"""Sampled pixels of a cell, down and across."""
DETAILS_HW = (24, 32)
"""Grid of the details, each the mean of 2 x 2 samples."""
BLUR = 2
"""Radius of the neighborhood, in details, whose mean is subtracted from a detail."""
DARK_SHARE = 0.25
"""Share of the mean luminance that is added before the logarithm of the details, against noise in dark parts."""
MAX_SHIFT_YX = (6, 8)
"""Maximum movement of the camera between two frames, in details: a quarter of the image."""
MIN_DEVIATION = 0.4
"""Minimum standard deviation of the cells (0..255); a frame below it is blank."""
MIN_CONTRAST = 0.03
"""Minimum standard deviation of the cells as a share of the mean; a frame below it is blank: white or plain."""
MIN_SIGNAL = 2.5
"""Minimum ratio of the cells' standard deviation to that of noise; a frame below it is blank: black with noise."""
MAX_LAYOUT_CHANGE = 0.35
"""Maximum layout change within a scene: 1 minus the correlation of two layouts."""
MIN_DETAIL_MATCH = 0.4
"""Minimum correlation of two frames' details within a scene, at the best shift."""
MIN_HALF_MATCH = 0.6
"""Minimum correlation of the details of a half that stays as it is while the other half of a split screen cuts."""

_HALVES = (np.s_[:12], np.s_[12:], np.s_[:, :16], np.s_[:, 16:])


@dataclass(frozen=True, eq=False)
class _View:
    """Layout and samples of a frame; the details are computed on demand."""

    layout: np.ndarray
    samples: np.ndarray

    @cached_property
    def details(self) -> np.ndarray:
        """Details (24, 32)."""
        return _details(self.samples)


class CutDetector:
    """Detects the first frame of each scene.

    A cut changes the layout and the details at once. Both are independent of brightness, so that dark footage has cuts
    too. A flash or another light keeps the details, a moving camera shifts them, and a face that crosses the image
    changes a part of them. A cut in one half of a split screen does not begin a scene. Blank frames are ignored: the
    next frame is compared with the one before them. A slow fade between two scenes is not detected, nor is a step to
    another part of the same view. `benchmarks/scene_cuts.py` measures both kinds of error.

    Source:
        The content and adaptive detectors of PySceneDetect compare hue, saturation, brightness and edges with a
        threshold or with the neighboring frames. Here one frame suffices, as the measures do not depend on brightness.
    """

    def __init__(self) -> None:
        self._last: _View | None = None

    def is_cut(self, image: np.ndarray) -> bool:
        """Return True when a frame begins a new scene; the first frame does not.

        Args:
            image: (H, W, 3) uint8 RGB; all frames in order.
        """
        samples = _sample(image)
        cells = _mean_blocks(samples, SAMPLES)
        if _is_blank(cells, samples):
            return False
        # A unit vector with zero mean, independent of brightness and contrast.
        layout = (cells - cells.mean(axis=(0, 1))).ravel()
        layout /= np.sqrt((layout**2).sum())
        view = _View(layout, samples)
        last, self._last = self._last, view
        if last is None or 1 - float((layout * last.layout).sum()) <= MAX_LAYOUT_CHANGE:
            return False
        if any(_correlation(last.details[half], view.details[half]) > MIN_HALF_MATCH for half in _HALVES):
            return False
        return _best_match(last.details, view.details) < MIN_DETAIL_MATCH

    def state(self) -> dict[str, Any]:
        """Return layout and samples of the last frame as JSON values, exact."""
        if self._last is None:
            return {}
        return {"layout": self._last.layout.tolist(), "samples": self._last.samples.astype(np.uint8).tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self._last = None
        if state:
            self._last = _View(np.array(state["layout"]), np.array(state["samples"], dtype=np.float64))


def _sample(image: np.ndarray) -> np.ndarray:
    """Return pixels spread evenly over an image, SAMPLES x SAMPLES of each cell, (48, 64, 3) float64."""
    rows, columns = (
        ((np.arange(cells * SAMPLES) + 0.5) * side / (cells * SAMPLES)).astype(np.intp)
        for cells, side in zip(CELLS_HW, image.shape[:2], strict=True)
    )
    return image[rows[:, None], columns].astype(np.float64)


def _mean_blocks(values: np.ndarray, size: int) -> np.ndarray:
    """Average values (H, W, C) in blocks of `size` x `size`."""
    height, width, channels = values.shape
    # rows first: numpy adds long rows fast
    rows = values.reshape(height // size, size, width * channels).sum(axis=1)
    return rows.reshape(height // size, width // size, size, channels).sum(axis=2) / size**2


def _is_blank(cells: np.ndarray, samples: np.ndarray) -> bool:
    """Return True for a black, white or plain frame, with or without noise."""
    deviation = float(cells.std(axis=(0, 1)).max())
    # the variance within the cells
    noise = math.sqrt(max(float((samples**2).mean() - (cells**2).mean()), 0.0)) / SAMPLES
    return deviation < max(MIN_DEVIATION, MIN_CONTRAST * float(cells.mean()), MIN_SIGNAL * noise)


def _details(samples: np.ndarray) -> np.ndarray:
    """Return the logarithm of the luminance without its local mean, (24, 32): edges and texture in any light."""
    means = _mean_blocks(samples, SAMPLES * CELLS_HW[0] // DETAILS_HW[0]).sum(axis=2) / 3
    logs = np.log(means + DARK_SHARE * means.mean())
    height, width = DETAILS_HW
    padded = np.pad(logs, BLUR, mode="edge")
    window = range(2 * BLUR + 1)
    rows = np.sum([padded[offset : offset + height] for offset in window], axis=0)
    return logs - np.sum([rows[:, offset : offset + width] for offset in window], axis=0) / len(window) ** 2


def _best_match(before: np.ndarray, after: np.ndarray) -> float:
    """Return the highest correlation of two frames' details over the shifts of a moving camera."""
    height, width = DETAILS_HW
    best = -1.0
    for down in range(-MAX_SHIFT_YX[0], MAX_SHIFT_YX[0] + 1):
        for right in range(-MAX_SHIFT_YX[1], MAX_SHIFT_YX[1] + 1):
            old = before[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
            new = after[max(down, 0) : height - max(-down, 0), max(right, 0) : width - max(-right, 0)]
            best = max(best, _correlation(old, new))
    return best


def _correlation(old: np.ndarray, new: np.ndarray) -> float:
    norm = float(np.sqrt((old**2).sum() * (new**2).sum()))
    return float((old * new).sum()) / max(norm, 1e-9)
