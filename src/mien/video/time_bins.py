"""Running means over time in a bounded number of bins, for a source whose length nobody knows beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """Where a face stands at a moment, to be cut out of that frame.

    Attributes:
        timestamp_s: of the frame.
        bbox_xyxy: left, top, right, bottom in pixels of the frame.
    """

    timestamp_s: float
    bbox_xyxy: tuple[float, float, float, float]


class Bins:
    """Time-weighted sums over equal stretches of time, from a start on.

    When a value falls beyond the last bin, neighbors are merged in pairs and the bins are twice as wide: at any time
    there are at most `most` of them, and at least half as many once the first merge has happened.

    Attributes:
        start_s: where the first bin begins.
        width_s: how long a bin is by now.
        count: how many bins there are, up to the last value.
    """

    def __init__(self, start_s: float, width_s: float, columns: int, most: int) -> None:
        self.start_s = start_s
        self.width_s = width_s
        self.count = 0
        self._most = most
        self._sums = np.zeros((min(most, 16), columns))
        self._seconds = np.zeros_like(self._sums)
        self._best: list[tuple[float, Glimpse] | None] = []

    def add(self, begin_s: float, end_s: float, values: np.ndarray, rank: float, glimpse: Glimpse) -> None:
        """Hold `values` from `begin_s` to `end_s`, shared out over the bins by time.

        Args:
            begin_s: not before `start_s`.
            end_s: after `begin_s`.
            values: (columns,); NaN in a column says nothing about it.
            rank: how much the glimpse is worth to be shown for its bin.
            glimpse: the face at `begin_s`.
        """
        while math.ceil((end_s - self.start_s) / self.width_s - 1e-9) > self._most:
            self._halve()
        known = ~np.isnan(values)
        filled = np.where(known, values, 0.0)
        first = min(int((begin_s - self.start_s) / self.width_s), self._most - 1)
        last = max(first, math.ceil((end_s - self.start_s) / self.width_s - 1e-9) - 1)
        self._reach(last + 1)
        for place in range(first, last + 1):
            left = self.start_s + place * self.width_s
            seconds = max(0.0, min(end_s, left + self.width_s) - max(begin_s, left))
            self._sums[place] += seconds * filled
            self._seconds[place] += seconds * known
        best = self._best[first]
        if best is None or rank > best[0]:
            self._best[first] = (rank, glimpse)

    def means(self) -> np.ndarray:
        """(count, columns) mean values; NaN where nothing was said."""
        seconds = self.seconds()
        empty = np.full_like(seconds, np.nan)
        return np.divide(self._sums[: self.count], seconds, out=empty, where=seconds > 0)

    def seconds(self) -> np.ndarray:
        """(count, columns) for how long each bin knows each value."""
        return self._seconds[: self.count].copy()

    def glimpses(self) -> list[tuple[float, Glimpse]]:
        """The best of every bin that has one, with its rank, in time order."""
        return [best for best in self._best if best is not None]

    def _reach(self, count: int) -> None:
        if count > len(self._sums):
            room = min(self._most, max(count, 2 * len(self._sums))) - len(self._sums)
            self._sums = np.pad(self._sums, ((0, room), (0, 0)))
            self._seconds = np.pad(self._seconds, ((0, room), (0, 0)))
        self._best += [None] * (count - len(self._best))
        self.count = max(self.count, count)

    def _halve(self) -> None:
        self._sums, self._seconds = _merge_pairs(self._sums), _merge_pairs(self._seconds)
        best = [*self._best, None] if len(self._best) % 2 else self._best
        pairs = zip(best[::2], best[1::2], strict=True)
        self._best = [max(filter(None, pair), key=lambda item: item[0], default=None) for pair in pairs]
        self.count = math.ceil(self.count / 2)
        self.width_s *= 2


def _merge_pairs(rows: np.ndarray) -> np.ndarray:
    """Every two rows added; the array keeps its length, zeros behind."""
    even = np.pad(rows, ((0, len(rows) % 2), (0, 0)))
    merged = even[::2] + even[1::2]
    return np.pad(merged, ((0, len(rows) - len(merged)), (0, 0)))
