"""One measurement as one plain dict: what `mien evaluate --json` prints and what the report shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mien import metrics
from mien.errors import InputError

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Shares of the answers, surest first, at which the summary gives the accuracy."""


def summarize(
    labels: np.ndarray,
    logits: np.ndarray,
    classes: Sequence[str],
    temperature: float = 1.0,
    bins: int = 15,
) -> dict[str, Any]:
    """Every number of one measurement, ready for JSON.

    A face without an answer is an error in accuracy, balanced accuracy, recall and F1. Calibration (`ece`,
    `brier`, `nll`, `reliability`) and `selective` are about confidence, so they look at the answers.

    Args:
        labels: (N,) class numbers.
        logits: (N, C) before the temperature; a row of nan where there is no answer: no face was found, or no image.
        classes: the C names, in the order of the columns.
        temperature: logits are divided by it before the softmax.
        bins: equal-width confidence bins of `ece` and `reliability`.

    Returns:
        Plain numbers, strings, lists and dicts; None where a number is not defined (every score of no faces).
        `ece` is after the temperature, `ece_uncalibrated` before, `reliability` has the bins of both.
        `confusion` has C rows of labels and C columns of predictions; faces without an answer are in
        `unanswered_faces` and `per_class[name]["unanswered"]`. `selective` tells how accurate the surest share of the
        answers is.

    Raises:
        InputError: when the arrays do not fit together.
    """
    labels, logits = np.asarray(labels), _check_logits(logits, classes)
    predictions = metrics.choose_labels(logits)
    confusion = metrics.confusion_matrix(labels, predictions, len(classes))
    n, correct = int(confusion.sum()), int(np.trace(confusion))
    return json_ready(
        {
            "n": n,
            "correct": correct,
            "unanswered_faces": int(confusion[:, -1].sum()),
            "accuracy": metrics.accuracy(labels, predictions),
            "accuracy_interval": metrics.accuracy_interval(correct, n),
            "balanced_accuracy": metrics.balanced_accuracy(labels, predictions, len(classes)),
            "macro_f1": metrics.macro_f1(labels, predictions, len(classes)),
            **_calibration(labels, logits, predictions, temperature, bins),
            "classes": list(classes),
            "per_class": _per_class(labels, predictions, classes, confusion),
            "confusion": confusion[:, :-1],
        }
    )


def describe_missed_faces(record: Mapping[str, Any]) -> str:
    """What became of faces that were not found and of images that are missing or broken; "all found" without any.

    Those not found are errors in photographs, and read whole in data sets of face crops.

    Args:
        record: with `unanswered_faces`; `missed_faces` and `unreadable_faces` where they were told apart.
    """
    unanswered, lost = record["unanswered_faces"], record.get("unreadable_faces", 0)
    missed, are_errors = record.get("missed_faces", unanswered - lost), unanswered > lost
    told = [
        *([f"{missed:,} not found, {'counted as errors' if are_errors else 'read whole'}"] if missed else []),
        *([f"{lost:,} missing or broken, counted as errors"] if lost else []),
    ]
    return "; ".join(told) or "all found"


def json_ready(value: Any) -> Any:
    """The same value in JSON's own types: no numpy, None for nan and infinity, floats to six places."""
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
        raise InputError(f"classes: a name stands twice in {', '.join(classes)}.")
    if logits.size == 0:
        logits = logits.reshape(0, len(classes))
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise InputError(
            f"logits: shape {logits.shape}, expected one column for each of {len(classes)} classes."
        )
    return logits


def _calibration(
    labels: np.ndarray, logits: np.ndarray, predictions: np.ndarray, temperature: float, bins: int
) -> dict[str, Any]:
    found = predictions != metrics.NO_ANSWER
    labels, logits = labels[found], logits[found]
    before, after = metrics.softmax(logits), metrics.softmax(logits, temperature)
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
    """Accuracy when only the surest faces are answered, for each share of `COVERAGES`."""
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
