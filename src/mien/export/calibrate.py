"""What a model file promises of its confidence: fitted on validation faces, written into the manifest."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mien import metrics
from mien.datasets.index import Index
from mien.errors import DatasetError, InputError
from mien.evaluation.evaluate import evaluate_predictions
from mien.evaluation.labels import official_labels, select_labeled
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, RiskPoint, write_manifest
from mien.progress import Progress

KEPT = (
    "n",
    "accuracy",
    "accuracy_interval",
    "balanced_accuracy",
    "macro_f1",
    "ece",
    "ece_uncalibrated",
    "brier",
)
"""The numbers of `mien evaluate --json` that a manifest keeps, for every protocol."""

COVERAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
"""Shares of labeled faces at which a manifest states the error."""


class Calibrated(NamedTuple):
    """A model file's manifest as it is now, and the images that counted as errors in its numbers."""

    manifest: Manifest
    unreadable: list[str]
    """Ids of those that are missing or broken."""


def calibrate(
    model: Path, index: Index, *, abstain: float = 0.02, progress: Progress | None = None
) -> Calibrated:
    """Fit the temperature and the abstention thresholds of a model file, measure it, and rewrite its manifest.

    Args:
        model: an .onnx with its manifest.
        index: the validation split of a data set.
        abstain: share of validation faces, the least sure ones, that get no label.
        progress: told how many images are done.

    Raises:
        InputError: when the share is none, or the faces show a class that the model does not know.
        DatasetError: when no face with a label could be read.
    """
    if not 0 <= abstain < 1:
        raise InputError(f"abstain is {abstain}; expected a share from 0 to below 1.")
    classifier, index = ExpressionClassifier(model), select_labeled(index)
    readings = predict_dataset(classifier, index, progress=progress)
    labels = official_labels(classifier.manifest, index)
    counted = (labels >= 0) & np.isfinite(readings.logits).all(axis=1)
    if not counted.any():
        raise DatasetError(
            f"{index.root}: not one labeled face could be read; check its images, `mien data check`."
        )
    temperature = round(metrics.fit_temperature(readings.logits[counted], labels[counted]), 4)
    probabilities = metrics.softmax(readings.logits[counted], temperature)
    threshold = round(float(np.quantile(probabilities.max(axis=1), abstain)), 3) if abstain else 0.0
    fitted = replace(
        classifier.manifest,
        temperature=temperature,
        abstain_below=threshold,
        risk_coverage=risk_points(probabilities, labels[counted]),
    )
    summary = evaluate_predictions(fitted, readings).summary
    measured = replace(fitted, metrics={**fitted.metrics, f"{index.name}/{index.split}": _kept(summary)})
    write_manifest(measured, model)
    return Calibrated(measured, summary["unreadable"])


def risk_points(probabilities: np.ndarray, labels: np.ndarray) -> tuple[RiskPoint, ...]:
    """The error at each share of `COVERAGES`, or at the next larger share that a threshold can give.

    A threshold has four digits, rounded down; share and error are what this very threshold gives.

    Args:
        probabilities: (N, C), after the temperature.
        labels: (N,) class numbers.
    """
    curve = metrics.risk_coverage(probabilities, labels)
    confidence, is_wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    points: dict[float, RiskPoint] = {}
    for share in COVERAGES:
        reached = int(np.searchsorted(curve.coverage, share - 1e-9))
        least = 0.0 if share == 1 else math.floor(curve.threshold[reached] * 1e4) / 1e4
        is_kept = confidence >= least
        coverage = round(float(is_kept.mean()), 6)
        error = round(float(is_wrong[is_kept].mean()), 6)
        points.setdefault(coverage, RiskPoint(coverage=coverage, error=error, confidence=least))
    return tuple(points.values())


def _kept(summary: dict[str, Any]) -> dict[str, Any]:
    protocols = summary.get("protocols") or {"labels": summary}
    return {name: {key: part[key] for key in KEPT} for name, part in protocols.items()}
