"""Agreement of valence and arousal with annotated values: concordance correlation and root mean squared error."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien import metrics
from mien.emotions import VALENCE_AROUSAL
from mien.evaluation.predictions import DatasetPredictions
from mien.evaluation.summary import json_ready
from mien.manifest import Manifest

NAMES = ("valence", "arousal")


def concordance_correlation(values: np.ndarray, predictions: np.ndarray) -> float:
    """Return the concordance correlation coefficient (CCC), -1..1.

    nan if both are constant and equal, or for fewer than two values; otherwise 0 if one is constant. Unlike Pearson's
    correlation it is lowered by another mean or scale of the predictions.

    Args:
        values: (N,) annotated values.
        predictions: (N,).

    Source:
        Lin (Biometrics 1989), with variances divided by N.
    """
    values, predictions = np.asarray(values, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if len(values) < 2:
        return float("nan")
    covariance = float(((values - values.mean()) * (predictions - predictions.mean())).mean())
    spread = float(values.var() + predictions.var() + (values.mean() - predictions.mean()) ** 2)
    return 2 * covariance / spread if spread > 0 else float("nan")


def root_mean_squared_error(values: np.ndarray, predictions: np.ndarray) -> float:
    """Return the root of the mean squared difference; nan for empty input."""
    if not len(values):
        return float("nan")
    return float(np.sqrt(np.mean((np.asarray(values, dtype=np.float64) - predictions) ** 2)))


def summarize_affect(manifest: Manifest, predictions: DatasetPredictions) -> dict[str, Any] | None:
    """Summarize the agreement of valence and arousal with the annotated values of a data set.

    Returns:
        `source` ("trained" for a model with a head for them, else "derived" from the probabilities), `n`, and for
        `valence` and `arousal` their `ccc` and `rmse`. Faces without a prediction are left out. None if no image has
        values, or if the model has none because a class has no coordinates.
    """
    values = np.array([sample.valence_arousal or (np.nan, np.nan) for sample in predictions.index.samples])
    predicted = predictions.valence_arousal
    source = "derived" if predicted is None else "trained"
    if predicted is None:
        if not set(manifest.labels) <= set(VALENCE_AROUSAL):
            return None
        coordinates = np.array([VALENCE_AROUSAL[label] for label in manifest.labels])
        predicted = metrics.softmax(predictions.logits, manifest.temperature) @ coordinates
    is_known = np.isfinite(values).all(axis=1)
    if not is_known.any():
        return None
    used = is_known & np.isfinite(predicted).all(axis=1)
    scores = {
        name: {
            "ccc": concordance_correlation(values[used, axis], predicted[used, axis]),
            "rmse": root_mean_squared_error(values[used, axis], predicted[used, axis]),
        }
        for axis, name in enumerate(NAMES)
    }
    return json_ready({"source": source, "n": int(used.sum()), **scores})
