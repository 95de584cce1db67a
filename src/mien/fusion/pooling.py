"""Log-linear pool of class distributions, and the Jensen-Shannon divergence of two of them.

A class that a model does not have is NaN in its distribution: the model says nothing about it, which is not the same as
a probability of 0.
"""

from __future__ import annotations

import numpy as np

from mien.arguments import check_share
from mien.errors import InputError

MIN_PROBABILITY = 1e-6
"""Smallest probability that counts, so that a rounded 0 of one model does not veto a class."""
_MAX_SUM_ERROR = 1e-3


def log_linear_pool(distributions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the normalized geometric mean (C,) of distributions, weighted.

    The weights are divided by their sum, so that equal distributions are returned unchanged: agreement of two models
    that have learned from similar data is not taken as twice the evidence. A row with weight 0 has no influence, and a
    single remaining row is returned exactly. Classes that are NaN in a row keep the total probability that the complete
    rows give them; the rows are pooled within the other classes. A class that no remaining row has gets 0.

    Args:
        distributions: (M, C), one row per modality; probabilities that sum to 1, NaN for classes that a model lacks.
        weights: (M,) at least 0, not all 0.

    Raises:
        InputError: if shapes disagree, a row with weight is not a distribution, no weight is above 0, or no class is
            in all rows.

    Source:
        Genest, Zidek: Combining Probability Distributions (Statistical Science 1986), logarithmic opinion pool.
    """
    rows, weights = _check(distributions, weights)
    if len(rows) == 1:
        return np.nan_to_num(rows[0])
    is_shared = ~np.isnan(rows).any(axis=0)
    if not is_shared.any():
        raise InputError("distributions: there is no class that all rows have.")
    is_complete = ~np.isnan(rows).any(axis=1)
    pooled = np.zeros(rows.shape[1])
    share = 1.0
    if is_complete.any():
        pooled = _geometric_mean(rows[is_complete], weights[is_complete])
        share = pooled[is_shared].sum()
    pooled[is_shared] = share * _geometric_mean(rows[:, is_shared], weights)
    return pooled


def conflict(face: np.ndarray, voice: np.ndarray, *, share: float = 1.0) -> float:
    """Return the Jensen-Shannon divergence of two distributions (C,) in bits: 0 (equal) to 1 (no common class).

    It is computed within the classes that both have; others are NaN. Classes of the voice that faces lack, such as
    boredom, count as agreement: the face is taken to have the same probability of them.

    Args:
        face: sums to 1.
        voice: likewise, as of `to_face_classes`.
        share: probability of the voice for the classes that faces have, 0..1, as of `to_face_classes`.

    Raises:
        InputError: if shapes disagree, one is not a distribution, or they have no class in common.

    Source:
        Lin: Divergence Measures Based on the Shannon Entropy (IEEE Trans. Information Theory 1991).
    """
    share = check_share("share", share)
    rows, _ = _check(np.stack([face, voice]), np.ones(2))
    is_shared = ~np.isnan(rows).any(axis=0)
    if not is_shared.any():
        raise InputError("face and voice have no class in common.")
    first, second = (_normalize(np.maximum(row[is_shared], MIN_PROBABILITY**2)) for row in rows)
    middle = (first + second) / 2
    bits = 0.5 * np.sum(first * np.log2(first / middle) + second * np.log2(second / middle))
    return float(share * np.clip(bits, 0.0, 1.0))


def _geometric_mean(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted geometric mean (C,) of rows (M, C), normalized."""
    logarithms = (weights / weights.sum()) @ np.log(np.maximum(rows, MIN_PROBABILITY))
    return _normalize(np.exp(logarithms - logarithms.max()))


def _normalize(values: np.ndarray) -> np.ndarray:
    return values / values.sum()


def _check(distributions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with a weight above 0, and their weights."""
    rows, weights = np.asarray(distributions, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if rows.ndim != 2 or weights.shape != rows.shape[:1]:
        raise InputError(
            f"distributions and weights: shapes {rows.shape} and {weights.shape}, expected (M, C) and (M,)."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any()):
        raise InputError(f"weights: {weights.tolist()}, expected numbers of at least 0, not all 0.")
    rows, weights = rows[weights > 0], weights[weights > 0]
    is_sum_one = np.abs(np.nansum(rows, axis=1) - 1) <= _MAX_SUM_ERROR
    if not is_sum_one.all() or (rows < 0).any():
        raise InputError("distributions: a row is negative or does not sum to 1.")
    return rows, weights
