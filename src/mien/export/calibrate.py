"""Calibration of a model file on validation faces: temperatures, abstention threshold, risk and coverage."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.index import Index
from mien.errors import DatasetError, InputError
from mien.evaluation.evaluate import evaluate_predictions
from mien.evaluation.labels import official_labels, select_labeled
from mien.evaluation.predictions import predict_dataset
from mien.export.quality import measure_quality_temperature
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, RiskPoint, write_manifest
from mien.progress import Progress

METRICS = ("n", "accuracy", "accuracy_interval", "balanced_accuracy", "macro_f1", "ece", "ece_uncalibrated", "brier")
"""Keys of an evaluation's summary that are stored in the manifest, per protocol."""

COVERAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
"""Fractions of labeled faces at which a manifest states the error."""


def calibrate(
    model: Path, index: Index, *, abstain: float = 0.02, progress: Progress | None = None
) -> tuple[Manifest, list[str]]:
    """Fit temperatures and abstention thresholds of a model file, evaluate it, and rewrite its manifest.

    Args:
        model: an .onnx file with its manifest.
        index: validation split of a data set.
        abstain: fraction of validation faces without a label, those with the lowest confidence.
        progress: called with the number of processed images.

    Returns:
        The calibrated manifest, and the ids of missing or broken images, which count as errors in its metrics.

    Raises:
        InputError: if the fraction is out of range, or the faces show a class that the model lacks.
        DatasetError: if no labeled face can be read.
    """
    if not 0 <= abstain < 1:
        raise InputError(f"abstain is {abstain}; expected a fraction from 0 to below 1.")
    classifier = ExpressionClassifier(model)
    index = select_labeled(index)
    predictions = predict_dataset(classifier, index, progress=progress)
    labels = official_labels(classifier.manifest, index)
    counted = (labels >= 0) & np.isfinite(predictions.logits).all(axis=1)
    if not counted.any():
        raise DatasetError(f"{index.root}: no labeled face can be read; check the images with `mien data check`.")
    temperature = round(metrics.fit_temperature(predictions.logits[counted], labels[counted]), 4)
    probabilities = metrics.softmax(predictions.logits[counted], temperature)
    threshold = round(float(np.quantile(probabilities.max(axis=1), abstain)), 3) if abstain else 0.0
    fitted = replace(
        classifier.manifest,
        temperature=temperature,
        quality_temperature=measure_quality_temperature(
            classifier, index, np.where(counted, labels, -1), temperature, progress=progress
        ),
        abstain_below=threshold,
        risk_coverage=risk_points(probabilities, labels[counted]),
    )
    summary = evaluate_predictions(fitted, predictions).summary
    split_metrics = {f"{index.name}/{index.split}": _select_metrics(summary)}
    calibrated = replace(fitted, metrics={**fitted.metrics, **split_metrics})
    write_manifest(calibrated, model)
    return calibrated, summary["unreadable"]


def risk_points(probabilities: np.ndarray, labels: np.ndarray) -> tuple[RiskPoint, ...]:
    """Return the error at each of `COVERAGES`, or at the next higher coverage that a threshold can give.

    Thresholds are rounded down to four digits; coverage and error are those of the rounded threshold.

    Args:
        probabilities: (N, C), calibrated.
        labels: (N,) class numbers.
    """
    curve = metrics.risk_coverage(probabilities, labels)
    confidence = probabilities.max(axis=1)
    is_wrong = probabilities.argmax(axis=1) != labels
    points: dict[float, RiskPoint] = {}
    for target in COVERAGES:
        position = int(np.searchsorted(curve.coverage, target - 1e-9))
        threshold = 0.0 if target == 1 else math.floor(curve.threshold[position] * 1e4) / 1e4
        is_labeled = confidence >= threshold
        coverage = round(float(is_labeled.mean()), 6)
        error = round(float(is_wrong[is_labeled].mean()), 6)
        points.setdefault(coverage, RiskPoint(coverage=coverage, error=error, confidence=threshold))
    return tuple(points.values())


def _select_metrics(summary: dict[str, Any]) -> dict[str, Any]:
    protocols = summary.get("protocols") or {"labels": summary}
    return {name: {key: values[key] for key in METRICS} for name, values in protocols.items()}
