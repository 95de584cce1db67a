"""Evaluation of a model on a data set of labeled faces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien import metrics
from mien.class_prior import Prior, log_ratios
from mien.datasets.index import Index
from mien.evaluation.affect import summarize_affect
from mien.evaluation.groups import columns_left_out, group_columns, group_results
from mien.evaluation.labels import labels_by_protocol, official_labels, select_labeled
from mien.evaluation.predictions import DatasetPredictions, predict_dataset
from mien.evaluation.summary import summarize
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest
from mien.progress import Progress

MAX_MISTAKES = 24
"""Maximum number of mistakes that are returned with their images."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A face with another prediction than its label.

    Attributes:
        image: (H, W, 3) uint8 RGB, the input of the network.
        name: id or file name of the image.
        truth: name of the label.
        predicted: name of the predicted class; None without a prediction.
        confidence: probability of the predicted class, 0..1; None without a prediction.
        is_readable: whether the image exists and can be decoded.
    """

    image: np.ndarray
    name: str
    truth: str
    predicted: str | None
    confidence: float | None
    is_readable: bool = True


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes:
        summary: accuracy, calibration and further results in JSON types; see `evaluate`.
        mistakes: the most confident mistakes, at most `MAX_MISTAKES`.
    """

    summary: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def evaluate(
    model: str | Path | ExpressionClassifier,
    index: Index,
    *,
    flip_tta: bool = False,
    by_group: bool = True,
    prior: Prior | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model on the labeled images of a data set.

    Faces are detected, aligned and classified as in `Analyzer` with three exceptions: faces rotated by 90 degrees are
    not searched, no mesh straightens rotated faces, and the manifest's `quality_temperature` is not applied.

    In photographs (`index.is_cropped` false) the labeled face is the one around the annotated landmarks, or the largest
    one without landmarks; an undetected face is an error. In data sets of face crops an image without a detected face
    is classified whole, and counted in `missed_faces`.

    Args:
        model: name of a shipped model, path of an `.onnx` file, or a loaded classifier.
        index: the data set, one split of it.
        flip_tta: average the logits with those of the mirrored crop.
        by_group: add the results of each group (gender, age ...) of the images.
        prior: class frequencies for which the predictions are corrected; see `mien.class_prior`.
        workers: see `mien.evaluation.predictions.predict_dataset`.
        progress: called with the number of finished images and their total.

    Returns:
        The summary has the keys of `mien.evaluation.summary.summarize`, and `missed_faces`, `unreadable_faces` and
        `unreadable`, the ids of missing or broken images, which count as errors. For FER+ these are the results of the
        official protocol, and `protocols` has those of both. `affect` has the results of
        `mien.evaluation.affect.summarize_affect`, if the images have valence and arousal. `groups` has the results of
        `mien.evaluation.groups.group_results` and `groups_left_out` the columns with too many values, if there are any.

    Raises:
        InputError: the model lacks a class of the labeled images or of the prior.
        DatasetError: no image has a label.
        ModelError: the model is unknown or cannot be loaded, or its manifest has no class frequencies for `prior`.

    Example:
        >>> from mien.datasets import read_dataset
        >>> index = read_dataset("ferplus", "ferplus.zip").select("valid")  # doctest: +SKIP
        >>> evaluate("expression", index).summary["accuracy"]  # doctest: +SKIP
        0.891216
    """
    classifier = as_classifier(model)
    labeled = select_labeled(index)
    shift = 0.0 if prior is None else log_ratios(classifier.manifest, prior)
    predictions = predict_dataset(classifier, labeled, flip_tta=flip_tta, workers=workers, progress=progress)
    predictions = replace(predictions, logits=predictions.logits + classifier.manifest.temperature * shift)
    evaluation = evaluate_predictions(classifier.manifest, predictions, shift)
    if by_group:
        evaluation.summary.update(_evaluate_groups(classifier.manifest, predictions))
    return evaluation


def as_classifier(model: str | Path | ExpressionClassifier) -> ExpressionClassifier:
    """Return a loaded classifier unchanged, and load one given by name or path with one thread."""
    return model if isinstance(model, ExpressionClassifier) else ExpressionClassifier(model, threads=1)


def evaluate_predictions(
    manifest: Manifest, predictions: DatasetPredictions, shift: np.ndarray | float = 0.0
) -> Evaluation:
    """Evaluate existing predictions, without groups; see `evaluate`, and `summarize` for their shift."""
    labels = labels_by_protocol(manifest, predictions.index)
    summaries = {name: _summarize(manifest, predictions, labels[name], shift) for name in labels}
    official = next(iter(labels))
    samples = predictions.index.samples
    is_counted = labels[official] >= 0
    unreadable = [samples[row].id for row in np.flatnonzero(is_counted & ~predictions.is_readable)]
    summary = {**summaries[official], "unreadable": unreadable}
    if affect := summarize_affect(manifest, predictions):
        summary["affect"] = affect
    if len(summaries) > 1:
        summary["protocols"] = summaries
    return Evaluation(summary=summary, mistakes=_mistakes(manifest, predictions, labels[official]))


def _evaluate_groups(manifest: Manifest, predictions: DatasetPredictions) -> dict[str, Any]:
    labels = official_labels(manifest, predictions.index)
    predicted = metrics.choose_labels(predictions.logits)
    rows = np.flatnonzero(labels >= 0)
    samples = [predictions.index.samples[row] for row in rows]
    results: dict[str, Any] = {}
    if columns := group_columns(samples):
        results["groups"] = group_results(labels[rows], predicted[rows], columns, len(manifest.labels))
    if left_out := columns_left_out(samples):
        results["groups_left_out"] = left_out
    return results


def _summarize(
    manifest: Manifest, predictions: DatasetPredictions, labels: np.ndarray, shift: np.ndarray | float
) -> dict[str, Any]:
    counted = labels >= 0
    logits = predictions.logits[counted]
    summary = summarize(labels[counted], logits, manifest.labels, manifest.temperature, shift=shift)
    is_missed = ~predictions.is_found & predictions.is_readable
    return {
        **summary,
        "missed_faces": int(is_missed[counted].sum()),
        "unreadable_faces": int((~predictions.is_readable)[counted].sum()),
    }


def _mistakes(manifest: Manifest, predictions: DatasetPredictions, labels: np.ndarray) -> tuple[Mistake, ...]:
    """Return the most confident mistakes, those without a prediction last."""
    predicted = metrics.choose_labels(predictions.logits)
    confidences = metrics.softmax(predictions.logits, manifest.temperature).max(axis=1)
    rows = np.flatnonzero((labels >= 0) & (labels != predicted))
    order = np.argsort(-np.nan_to_num(confidences[rows], nan=-1.0), kind="stable")
    return tuple(
        Mistake(
            image=predictions.crop(int(row)),
            name=predictions.index.samples[row].id,
            truth=manifest.labels[labels[row]],
            predicted=None if predicted[row] < 0 else manifest.labels[predicted[row]],
            confidence=None if predicted[row] < 0 else float(confidences[row]),
            is_readable=bool(predictions.is_readable[row]),
        )
        for row in rows[order][:MAX_MISTAKES]
    )
