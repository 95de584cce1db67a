"""Blinks: short closures of the eyes of a tracked face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_RISE = 0.15
"""Minimum rise of the eye closure above its values before and after a blink."""
SIDE_S = 0.5
"""Seconds before and after a closure in which the eyes have to be open."""
DURATION_S = (0.05, 0.5)
"""Minimum and maximum duration of a blink, at half of its height."""
MAX_INTERVAL_S = 0.07
"""Maximum median time between two measurements for a count: slower ones miss too many blinks."""


@dataclass(frozen=True)
class Blink:
    """One blink: start and end in seconds, where the eyes are half as far closed as in its middle."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class BlinkCount:
    """Blinks of a face.

    Attributes:
        blinks: in time order.
        seconds: time in which the eyes were measured.
    """

    blinks: tuple[Blink, ...]
    seconds: float

    @property
    def per_minute(self) -> float:
        """Blinks per minute of measurement; NaN without one."""
        return 60 * len(self.blinks) / self.seconds if self.seconds > 0 else float("nan")


def count_blinks(times_s: np.ndarray, closures: np.ndarray) -> BlinkCount | None:
    """Count the blinks of a face; None when the measurements are too far apart for a count.

    Args:
        times_s: (N,) ascending times of the measurements.
        closures: (N,) eye closure 0..1, the unsmoothed AU43; see `mien.video.table.EYE_CLOSURE`.
    """
    intervals_s = np.diff(times_s)
    if len(intervals_s) == 0 or np.median(intervals_s) > MAX_INTERVAL_S:
        return None
    seconds = float(intervals_s[intervals_s <= SIDE_S].sum())
    return BlinkCount(tuple(find_blinks(times_s, closures)), seconds)


def find_blinks(times_s: np.ndarray, closures: np.ndarray) -> list[Blink]:
    """Return the blinks in a series of eye closures; see `count_blinks` for the arguments.

    The eyes have to be open by `MIN_RISE` more within half a second on both sides of a closure: looking down for
    longer, or closing the eyes for longer, is not a blink.
    """
    open_closures = _open_closures(times_s, closures)
    is_closed = closures - open_closures >= MIN_RISE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_closed, [False]]).astype(int)))
    peaks = [int(first + closures[first:last].argmax()) for first, last in edges.reshape(-1, 2)]
    shortest_s, longest_s = DURATION_S
    blinks: list[Blink] = []
    for peak in peaks:
        blink = _measure(times_s, closures, peak, float(open_closures[peak]))
        # Noise can split a closure into several peaks.
        is_new = not blinks or blink.start_s >= blinks[-1].end_s
        if is_new and shortest_s <= blink.end_s - blink.start_s <= longest_s:
            blinks.append(blink)
    return blinks


def _open_closures(times_s: np.ndarray, closures: np.ndarray) -> np.ndarray:
    """Return (N,) the lowest closure before or after each measurement, of the side where the eyes are less open."""
    indices = np.arange(len(times_s))
    before = _lowest(closures, np.searchsorted(times_s, times_s - SIDE_S), indices)
    after = _lowest(closures, indices + 1, np.searchsorted(times_s, times_s + SIDE_S, side="right"))
    return np.maximum(before, after)


def _lowest(closures: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return (N,) the minimum of each range; infinity where it is empty."""
    padded = np.append(closures, np.inf)
    lowest = np.minimum.reduceat(padded, np.column_stack([first, last]).ravel())[::2] if len(closures) else closures
    return np.where(first < last, lowest, np.inf)


def _measure(times_s: np.ndarray, closures: np.ndarray, peak: int, open_closure: float) -> Blink:
    """Return the blink around a peak: between the times at which the closure crosses half of its height."""
    half = (closures[peak] + open_closure) / 2
    is_below = closures <= half
    before = peak - int(is_below[peak::-1].argmax())
    after = peak + int(is_below[peak:].argmax())
    start_s = np.interp(half, closures[[before, before + 1]], times_s[[before, before + 1]])
    end_s = np.interp(half, closures[[after, after - 1]], times_s[[after, after - 1]])
    return Blink(float(start_s), float(end_s))
