"""Comparison of two models on the same labeled faces: accuracies, significance, and the faces on which they differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.index import Index
from mien.evaluation.evaluate import as_classifier
from mien.evaluation.labels import check_classes, official_labels, select_labeled
from mien.evaluation.predictions import DatasetPredictions, predict_dataset
from mien.evaluation.summary import accuracy_scores, json_ready
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest
from mien.progress import Progress

MAX_DIFFERENCES = 16
"""Maximum number of faces, for each model, that are returned with their images."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A face that only one of two models classifies correctly.

    Attributes:
        image: (S, S, 3) uint8 RGB, the input of the first model.
        name: id of the image.
        truth: name of the label.
        predictions: names of the classes predicted by the first and the second model.
        confidences: their probabilities, 0..1.
    """

    image: np.ndarray
    name: str
    truth: str
    predictions: tuple[str, str]
    confidences: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of `compare`.

    Attributes:
        summary: results in JSON types:

            - `n`: number of faces.
            - `first`, `second`: name, version and sha256 of the model, correct, accuracy, its 95 % interval, balanced
              accuracy, macro F1.
            - `difference`, `difference_interval`: accuracy of the first minus the second model, with its 95 % interval.
            - `table`: number of faces that both, one or neither of the models classifies correctly.
            - `mcnemar`: p value of the exact test.
            - `classes`, `per_class`: all class names, and the recall of both models for each.
            - `unknown`: for each model, the classes that only the other one has.
            - `missed_faces`, `unreadable_faces`, `unanswered_faces`: counts for the first model.
            - `unreadable`: ids of missing or broken images.
        only_first: faces that only the first model classifies correctly, the most confident mistakes of the other
            first; at most `MAX_DIFFERENCES`.
        only_second: likewise for the second model.
    """

    summary: dict[str, Any]
    only_first: tuple[Difference, ...]
    only_second: tuple[Difference, ...]


def compare(
    first: str | Path | ExpressionClassifier,
    second: str | Path | ExpressionClassifier,
    index: Index,
    *,
    flip_tta: bool = False,
    workers: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Compare the accuracy of two models on the labeled images of a data set.

    Faces are detected, aligned and counted as in `evaluate`, by the official protocol of the data set. A class that
    only one of the models can predict counts as a mistake where it is predicted for another label.

    Args:
        first: name of a shipped model, path of an `.onnx` file, or a loaded classifier.
        second: likewise.
        index: the data set, one split of it.
        flip_tta: average the logits with those of the mirrored crop.
        workers: see `mien.evaluation.predictions.predict_dataset`.
        progress: called with the number of finished predictions of both models and their total.

    Raises:
        InputError: one of the models lacks a class of the labeled images.
        DatasetError: no image has a label.
        ModelError: a model is unknown or cannot be loaded.

    Example:
        >>> from mien.datasets import read_dataset
        >>> index = read_dataset("ferplus", "ferplus.zip").select("valid")  # doctest: +SKIP
        >>> compare("expression", "mobile", index).summary["difference"]  # doctest: +SKIP
        0.019068
    """
    classifiers = [as_classifier(first), as_classifier(second)]
    for classifier in classifiers:
        check_classes(classifier.manifest, index)
    labeled = select_labeled(index)
    predictions = [
        predict_dataset(
            classifier, labeled, flip_tta=flip_tta, workers=workers, progress=_half_progress(progress, number)
        )
        for number, classifier in enumerate(classifiers)
    ]
    return compare_predictions(classifiers[0].manifest, classifiers[1].manifest, predictions[0], predictions[1])


def compare_predictions(
    first: Manifest, second: Manifest, first_predictions: DatasetPredictions, second_predictions: DatasetPredictions
) -> Comparison:
    """Compare existing predictions of two models for the same images; see `compare`."""
    index = first_predictions.index
    labels = official_labels(first, index)
    rows = np.flatnonzero(labels >= 0)
    labels = labels[rows]
    names = first.labels + tuple(name for name in second.labels if name not in first.labels)
    predicted_first, confidence_first = _predict(first, first_predictions.logits[rows], names)
    predicted_second, confidence_second = _predict(second, second_predictions.logits[rows], names)
    is_found = first_predictions.is_found[rows]
    is_readable = first_predictions.is_readable[rows]
    summary = _summarize(labels, [predicted_first, predicted_second], names)
    summary["unknown"] = {}
    for key, manifest in (("first", first), ("second", second)):
        identity = {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}
        summary[key] = {**identity, **summary[key]}
        summary["unknown"][key] = [name for name in names if name not in manifest.labels]
    summary["missed_faces"] = int((~is_found & is_readable).sum())
    summary["unreadable_faces"] = int((~is_readable).sum())
    summary["unanswered_faces"] = int((predicted_first == metrics.NO_PREDICTION).sum())
    summary["unreadable"] = [index.samples[row].id for row in rows[~is_readable]]

    def differences(is_selected: np.ndarray, confidence: np.ndarray) -> tuple[Difference, ...]:
        selected = np.flatnonzero(is_selected)
        order = np.argsort(-confidence[selected], kind="stable")
        return tuple(
            Difference(
                image=first_predictions.crop(int(rows[place])),
                name=index.samples[rows[place]].id,
                truth=names[labels[place]],
                predictions=(names[predicted_first[place]], names[predicted_second[place]]),
                confidences=(float(confidence_first[place]), float(confidence_second[place])),
            )
            for place in selected[order][:MAX_DIFFERENCES]
        )

    correct_first = predicted_first == labels
    correct_second = predicted_second == labels
    # six significant digits: rounded to six decimals, a small p value would be 0
    p_value = float(f"{summary['mcnemar']['p_value']:.6g}")
    return Comparison(
        summary={**json_ready(summary), "mcnemar": {"p_value": p_value}},
        only_first=differences(correct_first & ~correct_second, confidence_second),
        only_second=differences(correct_second & ~correct_first, confidence_first),
    )


def _predict(manifest: Manifest, logits: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions (N,) as positions in `names`, `NO_PREDICTION` without a face, and their confidences (N,)."""
    positions = np.array([*(names.index(name) for name in manifest.labels), metrics.NO_PREDICTION])
    confidences = metrics.softmax(logits, manifest.temperature).max(axis=1)
    return positions[metrics.choose_labels(logits)], confidences


def _summarize(labels: np.ndarray, predictions: list[np.ndarray], names: tuple[str, ...]) -> dict[str, Any]:
    first, second = (predicted == labels for predicted in predictions)
    scores_first, scores_second = (
        {**accuracy_scores(labels, predicted, len(names)), "macro_f1": metrics.macro_f1(labels, predicted, len(names))}
        for predicted in predictions
    )
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    return {
        "n": len(labels),
        "first": scores_first,
        "second": scores_second,
        "difference": scores_first["accuracy"] - scores_second["accuracy"],
        "difference_interval": metrics.difference_interval(only_first, only_second, len(labels)),
        "table": {
            "both_right": int((first & second).sum()),
            "only_first": only_first,
            "only_second": only_second,
            "both_wrong": int((~first & ~second).sum()),
        },
        "mcnemar": {"p_value": metrics.mcnemar_test(only_first, only_second)},
        "classes": list(names),
        "per_class": {
            name: _class_scores(first[labels == number], second[labels == number]) for number, name in enumerate(names)
        },
    }


def _class_scores(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Return the recall of both models for one class, given which of its faces each classifies correctly."""
    recalls = [float(correct.mean()) if correct.size else float("nan") for correct in (first, second)]
    return {
        "n": first.size,
        "first": recalls[0],
        "second": recalls[1],
        "difference": recalls[0] - recalls[1],
        "only_first": int((first & ~second).sum()),
        "only_second": int((second & ~first).sum()),
    }


def _half_progress(progress: Progress | None, number: int) -> Progress | None:
    """Return a callback for the first (0) or the second (1) model that reports the progress of both."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, 2 * total)
