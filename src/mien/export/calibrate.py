"""Calibration of a model file on validation faces: temperatures, class shares, abstention, risk and coverage."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mien import metrics
from mien.class_prior import label_shares
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

MIN_FACES = 100
"""Validation faces below which fitted values are called uncertain."""

COVERAGES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)
"""Fractions of labeled faces at which a manifest states the error."""


class Calibration(NamedTuple):
    """Result of `calibrate`."""

    manifest: Manifest
    unreadable: list[str]
    """Ids of missing or broken images, which count as errors in the metrics of the manifest."""
    notes: list[str]
    """What could not be fitted and why, for the user."""


def calibrate(model: Path, index: Index, *, abstain: float = 0.02, progress: Progress | None = None) -> Calibration:
    """Fit temperatures, class shares and thresholds of a model file, evaluate it, and rewrite its manifest.

    The metrics in the manifest are replaced.

    Args:
        model: an .onnx file with its manifest.
        index: validation split of a data set.
        abstain: fraction of validation faces without a label, those with the lowest confidence.
        progress: called with the number of processed images.

    Raises:
        InputError: if the fraction is out of range, or the faces show a class that the model lacks.
        DatasetError: if no labeled face can be read.
    """
    if not 0 <= abstain < 1:
        raise InputError(f"abstain is {abstain}; expected a fraction from 0 to below 1.")
    classifier = ExpressionClassifier(model, threads=1)
    index = select_labeled(index)
    predictions = predict_dataset(classifier, index, progress=progress)
    labels = official_labels(classifier.manifest, index)
    counted = (labels >= 0) & np.isfinite(predictions.logits).all(axis=1)
    if not counted.any():
        raise DatasetError(f"{index.root}: no labeled face can be read; check the images with `mien data check`.")
    notes = describe_validation(classifier.manifest.labels, index, labels[counted])
    temperature = fit_temperature(predictions.logits[counted], labels[counted], notes)
    probabilities = metrics.softmax(predictions.logits[counted], temperature)
    threshold = fit_threshold(probabilities.max(axis=1), abstain, notes)
    balance = classifier.manifest.source.get("balance", 0.0)
    shares = label_shares(labels[counted], len(classifier.manifest.labels), balance)
    quality_temperature = measure_quality_temperature(
        classifier, index, np.where(counted, labels, -1), temperature, progress=progress
    )
    if quality_temperature is None:
        notes.append("too few detected validation faces: small and blurred faces get the same temperature as others")
    fitted = replace(
        classifier.manifest,
        temperature=temperature,
        quality_temperature=quality_temperature,
        class_prior=dict(zip(classifier.manifest.labels, shares.round(6).tolist(), strict=True)),
        abstain_below=threshold,
        risk_coverage=risk_points(probabilities, labels[counted]),
    )
    summary = evaluate_predictions(fitted, predictions).summary
    # numbers on other data are those of the earlier calibration
    calibrated = replace(fitted, metrics={f"{index.name}/{index.split}": _select_metrics(summary)})
    write_manifest(calibrated, model)
    return Calibration(calibrated, summary["unreadable"], notes)


def describe_validation(names: tuple[str, ...], index: Index, labels: np.ndarray) -> list[str]:
    """Return what the validation faces cannot tell about a model.

    Args:
        names: classes of the model.
        index: the split that it is calibrated on.
        labels: (N,) class numbers of the faces that count.
    """
    notes = []
    if index.split == "train":
        notes.append("calibrated on training faces: probabilities and accuracy are too high; use --split valid")
    elif index.split != "valid" and index.split != "test":
        notes.append(f"{index.root} has no splits: accuracy and calibration are too good if the model learned from it")
    if len(labels) < MIN_FACES:
        notes.append(
            f"only {len(labels)} validation faces: temperature, abstention and accuracy are uncertain; calibrate on at "
            f"least {MIN_FACES}"
        )
    if missing := [name for number, name in enumerate(names) if number not in labels]:
        notes.append(f"no validation face shows {', '.join(missing)}: its probabilities are not calibrated")
    return notes


def fit_temperature(logits: np.ndarray, labels: np.ndarray, notes: list[str]) -> float:
    """Return the temperature, rounded to four digits; 1 where the faces do not determine it.

    Args:
        logits: (N, C).
        labels: (N,) class numbers.
        notes: gets the reason if the temperature is not determined, or at its limit.
    """
    low, high = metrics.TEMPERATURE_RANGE
    temperature = round(metrics.fit_temperature(logits, labels), 4)
    if temperature < 1.01 * low:
        notes.append(
            f"all {len(labels)} validation faces are classified correctly, so no temperature can be fitted and it "
            "stays 1: calibrate on more faces, and on none that the model learned from"
        )
        return 1.0
    if temperature > 0.99 * high:
        accuracy = metrics.accuracy(labels, metrics.choose_labels(logits))
        notes.append(
            f"the temperature is at its limit of {high:g}: on {len(labels)} validation faces the model only "
            f"guesses (accuracy {accuracy:.0%}), so all classes get about the same probability; check the labels "
            "and log.jsonl"
        )
    return temperature


def fit_threshold(confidence: np.ndarray, abstain: float, notes: list[str]) -> float:
    """Return the confidence, rounded down to three digits, below which a share of the faces gets no label.

    Args:
        confidence: (N,) probabilities of the most probable class.
        abstain: share of the faces without a label.
        notes: gets the reason if the faces do not determine the threshold.
    """
    if abstain * len(confidence) < 1:
        if abstain:
            notes.append(
                f"{abstain:.2%} of {len(confidence)} validation faces is less than one face, so no abstention "
                f"threshold can be fitted and the model always gives a label: calibrate on {math.ceil(1 / abstain)} "
                "faces or more"
            )
        return 0.0
    threshold = math.floor(float(np.quantile(confidence, abstain)) * 1e3) / 1e3
    if not (confidence < threshold).any():
        notes.append("the least confident validation faces are equally confident: no face abstains")
    return threshold


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
