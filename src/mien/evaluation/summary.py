"""Evaluation summary in JSON types: the output of `mien evaluate --json` and the content of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mien import metrics
from mien.errors import InputError

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Coverages for which `selective` states the accuracy: shares of the predictions, the most confident first."""


def summarize(
    labels: np.ndarray,
    logits: np.ndarray,
    classes: Sequence[str],
    temperature: float = 1.0,
    bins: int = 15,
    shift: np.ndarray | float = 0.0,
) -> dict[str, Any]:
    """Summarize predictions: accuracy, calibration, selective prediction, and scores for each class.

    A face without a prediction is an error in accuracy, balanced accuracy, recall and F1. It is left out of
    calibration (`ece`, `brier`, `nll`, `reliability`) and `selective`, which need a confidence.

    Args:
        labels: (N,) class ids.
        logits: (N, C) before the temperature; a row of NaN without a prediction (no face, or no image).
        classes: the C names, in the order of the columns.
        temperature: divisor of the logits before the softmax.
        bins: number of equal-width confidence bins of `ece` and `reliability`.
        shift: (C,) of `mien.class_prior.log_ratios`, which the logits contain multiplied by the temperature.

    Returns:
        Numbers, strings, lists and dicts; None for undefined numbers (every score of no faces). `ece` is computed
        after the temperature and `ece_uncalibrated` before it; `reliability` has the bins of both. `confusion` has C
        rows of labels and C columns of predictions; faces without a prediction are counted in `unanswered_faces` and
        `per_class[name]["unanswered"]`. `selective` is the accuracy of the most confident share of the predictions.

    Raises:
        InputError: the shapes of the arrays do not agree, or a class name is repeated.
    """
    labels = np.asarray(labels)
    logits = _check_logits(logits, classes)
    predictions = metrics.choose_labels(logits)
    confusion = metrics.confusion_matrix(labels, predictions, len(classes))
    n = int(confusion.sum())
    correct = int(np.trace(confusion))
    return json_ready(
        {
            "n": n,
            "correct": correct,
            "unanswered_faces": int(confusion[:, -1].sum()),
            "accuracy": metrics.accuracy(labels, predictions),
            "accuracy_interval": metrics.accuracy_interval(correct, n),
            "balanced_accuracy": metrics.balanced_accuracy(labels, predictions, len(classes)),
            "macro_f1": metrics.macro_f1(labels, predictions, len(classes)),
            **_calibration(labels, logits, predictions, temperature, bins, shift),
            "classes": list(classes),
            "per_class": _per_class(labels, predictions, classes, confusion),
            "confusion": confusion[:, :-1],
        }
    )


def accuracy_scores(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, Any]:
    """Return the number of correct predictions, the accuracy, its 95 % interval, and the balanced accuracy."""
    correct = int((labels == predictions).sum())
    return {
        "correct": correct,
        "accuracy": metrics.accuracy(labels, predictions),
        "accuracy_interval": metrics.accuracy_interval(correct, len(labels)),
        "balanced_accuracy": metrics.balanced_accuracy(labels, predictions, classes),
    }


def describe_missed_faces(record: Mapping[str, Any]) -> str:
    """Describe faces that were not detected and images that are missing or broken; "all detected" without any.

    Undetected faces are errors in photographs; in data sets of face crops the whole image is classified.

    Args:
        record: summary with `unanswered_faces`; `missed_faces` and `unreadable_faces` if it counts them separately.
    """
    unanswered = record["unanswered_faces"]
    unreadable = record.get("unreadable_faces", 0)
    missed = record.get("missed_faces", unanswered - unreadable)
    parts: list[str] = []
    if missed:
        effect = "counted as errors" if unanswered > unreadable else "whole image used"
        parts.append(f"{missed:,} not detected, {effect}")
    if unreadable:
        parts.append(f"{unreadable:,} missing or broken, counted as errors")
    return "; ".join(parts) or "all detected"


def json_ready(value: Any) -> Any:
    """Convert a value to JSON types: no numpy, None for NaN and infinity, floats rounded to six decimals."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, np.generic):
        return json_ready(value.item())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _check_logits(logits: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    if len(set(classes)) != len(classes):
        raise InputError(f"classes: a name is repeated in {', '.join(classes)}.")
    if logits.size == 0:
        logits = logits.reshape(0, len(classes))
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise InputError(f"logits: shape {logits.shape}, expected one column for each of {len(classes)} classes.")
    return logits


def _calibration(
    labels: np.ndarray,
    logits: np.ndarray,
    predictions: np.ndarray,
    temperature: float,
    bins: int,
    shift: np.ndarray | float,
) -> dict[str, Any]:
    is_answered = predictions != metrics.NO_PREDICTION
    labels = labels[is_answered]
    logits = logits[is_answered]
    before = metrics.softmax(logits + (1 - temperature) * shift)
    after = metrics.softmax(logits, temperature)
    return {
        "temperature": temperature,
        "ece": metrics.expected_calibration_error(after, labels, bins),
        "ece_uncalibrated": metrics.expected_calibration_error(before, labels, bins),
        "brier": metrics.brier_score(after, labels),
        "nll": metrics.negative_log_likelihood(after, labels),
        "reliability": {
            "before": asdict(metrics.reliability_bins(before, labels, bins)),
            "after": asdict(metrics.reliability_bins(after, labels, bins)),
        },
        "selective": _selective(after, labels),
    }


def _selective(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Return the accuracy of the most confident predictions at each coverage of `COVERAGES`."""
    curve = metrics.risk_coverage(probabilities, labels)
    if not curve.coverage.size:
        return []
    points = np.minimum(np.searchsorted(curve.coverage, COVERAGES), curve.coverage.size - 1)
    return [
        {
            "coverage": float(curve.coverage[point]),
            "accuracy": 1.0 - float(curve.risk[point]),
            "threshold": float(curve.threshold[point]),
        }
        for point in dict.fromkeys(points.tolist())
    ]


def _per_class(
    labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str], confusion: np.ndarray
) -> dict[str, dict[str, Any]]:
    scores = metrics.precision_recall_f1(labels, predictions, len(classes))
    return {
        name: {
            "precision": scores.precision[index],
            "recall": scores.recall[index],
            "f1": scores.f1[index],
            "n": scores.support[index],
            "unanswered": confusion[index, -1],
        }
        for index, name in enumerate(classes)
    }
