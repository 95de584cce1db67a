"""Corrections of a classifier's logits, fitted to labeled faces: scale, class biases and a change of the last layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mien.metrics import softmax

BIAS_PENALTY = 1e-3
"""Weight of the squared class biases and of the squared change of the scale in the loss."""
COMPONENTS = 256
"""Maximum number of principal components of the embeddings."""
MAX_ITERATIONS = 100


@dataclass(frozen=True, kw_only=True)
class FaceFeatures:
    """Logits and features of N labeled faces.

    Attributes:
        logits: (N, C) calibrated, so that their softmax are the model's probabilities.
        features: (N, K) principal components of the embeddings.
        labels: (N,) class ids.
        groups: (N,) numbers of the people or groups that must not be split in cross-validation.
    """

    logits: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: np.ndarray) -> FaceFeatures:
        """Return some of the faces."""
        return FaceFeatures(
            logits=self.logits[rows], features=self.features[rows], labels=self.labels[rows], groups=self.groups[rows]
        )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Strength of a correction.

    Attributes:
        penalty: weight of the squared change of the last layer in the loss; infinite for scale and biases only.
        balance: weight of a face, as the power of the inverse frequency of its class; 0 for equal weights, 1 for
            classes of equal weight.
    """

    penalty: float
    balance: float


@dataclass(frozen=True, kw_only=True)
class Correction:
    """Corrected logits are `scale * logits + features @ weight.T + bias`.

    Attributes:
        scale: factor of the model's logits.
        weight: (C, K).
        bias: (C,).
    """

    scale: float
    weight: np.ndarray
    bias: np.ndarray

    def apply(self, faces: FaceFeatures) -> np.ndarray:
        """Return the corrected logits (N, C)."""
        return self.scale * faces.logits + faces.features @ self.weight.T + self.bias

    def on_embeddings(self, basis: Basis) -> Correction:
        """Return the equal correction whose features are the embeddings themselves."""
        weight = self.weight @ basis.directions
        return Correction(scale=self.scale, weight=weight, bias=self.bias - weight @ basis.center)


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Principal components of embeddings; features have a mean squared norm of about 1.

    Attributes:
        center: (D,) mean embedding.
        directions: (K, D).
    """

    center: np.ndarray
    directions: np.ndarray

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the features (N, K) of embeddings (N, D)."""
        return (embeddings - self.center) @ self.directions.T


def principal_components(embeddings: np.ndarray) -> Basis:
    """Return at most `COMPONENTS` principal components of embeddings (N, D), divided by one common scale."""
    center = embeddings.mean(axis=0)
    _, values, directions = np.linalg.svd(embeddings - center, full_matrices=False)
    scale = math.sqrt(max(float((values**2).sum()) / len(embeddings), 1e-12))
    return Basis(center=center, directions=directions[:COMPONENTS] / scale)


def fit_correction(faces: FaceFeatures, setting: Setting) -> Correction:
    """Return the correction with the smallest penalized cross-entropy.

    Classes without a face get no bias and no weights; their logits are only scaled.
    """
    from scipy.optimize import minimize

    count, classes = faces.logits.shape
    features = faces.features if math.isfinite(setting.penalty) else np.zeros((count, 0))
    width = features.shape[1]
    penalty = setting.penalty if width else 0.0
    is_present = np.bincount(faces.labels, minlength=classes) > 0
    targets = np.eye(classes)[faces.labels]
    weights = _face_weights(faces.labels, classes, setting.balance)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias, weight = _unpack(parameters, classes)
        probabilities = softmax(scale * faces.logits + features @ weight + bias)
        cross_entropy = -(weights * np.log(np.maximum((probabilities * targets).sum(axis=1), 1e-12))).sum()
        gradient = weights[:, None] * (probabilities - targets)
        scale_gradient = (gradient * faces.logits).sum() + 2 * BIAS_PENALTY * (scale - 1)
        bias_gradient = (gradient.sum(axis=0) + 2 * BIAS_PENALTY * bias) * is_present
        weight_gradient = (features.T @ gradient + 2 * penalty * weight) * is_present
        total = cross_entropy + penalty * (weight**2).sum() + BIAS_PENALTY * ((scale - 1) ** 2 + (bias**2).sum())
        return total, np.concatenate([[scale_gradient], bias_gradient, weight_gradient.ravel()])

    start = np.zeros(1 + classes + width * classes)
    start[0] = 1.0
    result = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS})
    scale, bias, weight = _unpack(result.x, classes)
    weight = weight.T if width else np.zeros((classes, faces.features.shape[1]))
    return Correction(scale=scale, weight=weight, bias=bias)


def _unpack(parameters: np.ndarray, classes: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return scale, bias (C,) and weight (D, C)."""
    return float(parameters[0]), parameters[1 : 1 + classes], parameters[1 + classes :].reshape(-1, classes)


def _face_weights(labels: np.ndarray, classes: int, balance: float) -> np.ndarray:
    """Return the weights (N,) of the faces, which sum to 1."""
    frequencies = np.bincount(labels, minlength=classes)[labels]
    weights = frequencies.astype(np.float64) ** -balance
    return weights / weights.sum()
