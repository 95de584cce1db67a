"""Linear discriminant analysis with a shrunk covariance, for all data and for all but one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MIN_DEVIATION = 1e-6


@dataclass(frozen=True)
class LinearHead:
    """Linear classifier: logits are `features @ weights + bias`, weights (D, C), bias (C,)."""

    weights: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits (N, C) of features (N, D)."""
        return features @ self.weights + self.bias


class GroupedDiscriminant:
    """Linear discriminant analysis that can leave groups out cheaply.

    The sums over every group are computed once, so that leaving one out is a subtraction. The features are scaled to
    variance 1, the covariance within classes is shrunk toward a multiple of the identity, and all classes have the same
    prior.

    Args:
        features: (N, D).
        labels: (N,) class IDs 0..C - 1; every class occurs outside of every group.
        groups: (N,) group IDs, such as speakers.

    Source:
        Fisher (1936); shrinkage as in Friedman: Regularized Discriminant Analysis (JASA 1989).
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
        features = features.astype(np.float64)
        classes = int(labels.max()) + 1
        one_hot = np.eye(classes)[labels]
        self._groups = np.unique(groups)
        masks = [groups == group for group in self._groups]
        self._counts = np.stack([one_hot[mask].sum(axis=0) for mask in masks])
        self._sums = np.stack([one_hot[mask].T @ features[mask] for mask in masks])
        self._products = np.stack([features[mask].T @ features[mask] for mask in masks])
        self._all_products = self._products.sum(axis=0)

    def fit(self, shrinkage: float, without: Sequence[str] = ()) -> LinearHead:
        """Return the classifier of all groups but some.

        Args:
            shrinkage: 0 (covariance as it is) to 1 (identity).
            without: group IDs to leave out.
        """
        is_left_out = np.isin(self._groups, list(without))
        counts, sums = self._counts[~is_left_out].sum(axis=0), self._sums[~is_left_out].sum(axis=0)
        products = self._all_products - self._products[is_left_out].sum(axis=0)
        total = counts.sum()
        mean = sums.sum(axis=0) / total
        deviation = np.sqrt(np.maximum(np.diag(products) / total - mean**2, _MIN_DEVIATION**2))
        centers = sums / counts[:, None]
        within = (products - (centers.T * counts) @ centers) / total / np.outer(deviation, deviation)
        spread = np.trace(within) / len(within)
        within = (1 - shrinkage) * within + shrinkage * spread * np.eye(len(within))
        scaled = (centers - mean) / deviation
        directions = np.linalg.solve(within, scaled.T)
        weights = directions / deviation[:, None]
        bias = -0.5 * np.sum(scaled.T * directions, axis=0) - mean @ weights
        return LinearHead(weights, bias)
