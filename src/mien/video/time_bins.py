"""Piecewise constant values averaged over time bins."""

from __future__ import annotations

import math

import numpy as np

_EPSILON_S = 1e-9
_SLIVER = 0.5


def bin_edges(length_s: float, width_s: float, max_bins: int) -> np.ndarray:
    """Return the edges of equal bins from 0 to at least `length_s`.

    Args:
        length_s: length of time to cover, above 0.
        width_s: minimum width of a bin; it is doubled until the bins are few enough, and stretched by less than a half
            when only a sliver would be left for a bin at the end.
        max_bins: maximum number of bins.

    Returns:
        (T + 1,) seconds.
    """
    while (count := math.ceil(length_s / width_s - _EPSILON_S)) > max_bins:
        width_s *= 2
    if count > 1 and length_s - (count - 1) * width_s < _SLIVER * width_s:
        count -= 1
        width_s = length_s / count
    return width_s * np.arange(max(count, 1) + 1)


def bin_sums(begin_s: np.ndarray, end_s: np.ndarray, values: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Integrate values that hold for an interval each over every bin.

    Args:
        begin_s: (N,) start of each interval, ascending.
        end_s: (N,) end of each interval, at most the start of the next one.
        values: (N, K) without NaN.
        edges_s: (T + 1,) edges of the bins.

    Returns:
        (T, K) value times seconds.
    """
    knots_s = np.column_stack([begin_s, end_s]).ravel()
    areas = np.cumsum((end_s - begin_s)[:, None] * values, axis=0)
    totals = np.repeat(np.vstack([np.zeros(areas.shape[1]), areas]), 2, axis=0)[1:-1]
    return np.diff([np.interp(edges_s, knots_s, column) for column in totals.T], axis=1).T


def bin_means(begin_s: np.ndarray, end_s: np.ndarray, values: np.ndarray, edges_s: np.ndarray) -> np.ndarray:
    """Average values that hold for an interval each over every bin, weighted by time.

    See `bin_sums`; in `values` NaN is unknown, in the result it marks bins where the value is never known.
    """
    known_s = bin_sums(begin_s, end_s, ~np.isnan(values), edges_s)
    sums = bin_sums(begin_s, end_s, np.nan_to_num(values), edges_s)
    means = np.divide(sums, known_s, out=np.full_like(sums, np.nan), where=known_s > _EPSILON_S)
    # The running totals are exact to about 1e-9: the mean of equal values is that value.
    return means.round(6)
