"""Two models on the same faces: which is better, whether that may be chance, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.check import Progress
from mien.datasets.index import Index
from mien.errors import InputError
from mien.evaluation.evaluate import Readings, official_labels, read_faces, select_labelled
from mien.evaluation.summary import json_ready
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest

SHOWN = 16
"""Faces that are kept with their pictures for each model that alone reads them right."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A face that one of two models reads right and the other wrong.

    Attributes:
        image: (S, S, 3) uint8 RGB, as the first model saw it.
        name: the image's id.
        truth: the label.
        readings: what the first and the second model said.
        confidences: how sure they were, 0..1.
    """

    image: np.ndarray
    name: str
    truth: str
    readings: tuple[str, str]
    confidences: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The numbers of a comparison, and the faces on which the models differ.

    Attributes:
        summary: see `compare`.
        only_first: faces that the first model alone reads right, the other's surest mistakes first.
        only_second: likewise.
    """

    summary: dict[str, Any]
    only_first: tuple[Difference, ...]
    only_second: tuple[Difference, ...]


def compare(
    first: ExpressionClassifier,
    second: ExpressionClassifier,
    index: Index,
    *,
    mirror: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Read the faces of a data set with two models, and compare how often they are right.

    Faces are found, cut and counted as in `mien.evaluation.evaluate`, by the data set's official protocol.

    Args:
        first: a model.
        second: a model of the same classes, in any order.
        index: the data set, one split of it.
        mirror: average with the mirrored crop.
        progress: told how many readings are done, of both models together.

    Returns:
        A summary that is ready for JSON: `n`; `first` and `second`, each with the model's name, version and sha256,
        correct, accuracy, its 95 % interval, balanced accuracy and macro F1; `difference` of the accuracies, first
        minus second, and `difference_interval`; `table` with the faces that both, one or none reads right; `mcnemar`
        with the p value of the exact test; `per_class` with the recall of both; `missed_faces` and `unreadable`.

    Raises:
        InputError: when the models do not know the same classes, or the data set has another one.
        DatasetError: when no image has a label.
    """
    check_same_classes(first.manifest, second.manifest)
    labelled = select_labelled(index)
    readings = [
        read_faces(classifier, labelled, mirror=mirror, progress=_part_of(progress, number))
        for number, classifier in enumerate((first, second))
    ]
    return compare_readings(first.manifest, second.manifest, readings[0], readings[1])


def check_same_classes(first: Manifest, second: Manifest) -> None:
    """Refuse models that cannot be compared.

    Raises:
        InputError: when one knows a class that the other does not.
    """
    for one, other in ((first, second), (second, first)):
        if missing := [name for name in one.labels if name not in other.labels]:
            raise InputError(
                f"{one.name} knows {', '.join(missing)}, which {other.name} does not: only models of the same "
                "classes can be compared."
            )


def compare_readings(first: Manifest, second: Manifest, mine: Readings, other: Readings) -> Comparison:
    """The comparison behind two models' answers to the same images; see `compare`."""
    labels = official_labels(first, mine.index)
    rows = np.flatnonzero(labels >= 0)
    order = [second.labels.index(name) for name in first.labels]
    logits = mine.logits[rows], other.logits[rows][:, order]
    predictions = [metrics.choose_labels(part) for part in logits]
    is_right = [part == labels[rows] for part in predictions]
    summary = _summarize(labels[rows], predictions, first.labels)
    for key, manifest in (("first", first), ("second", second)):
        summary[key] = {**_identity(manifest), **summary[key]}
    summary["missed_faces"] = int((~mine.is_found & mine.is_readable)[rows].sum())
    summary["unreadable"] = [mine.index.samples[row].id for row in np.flatnonzero(~mine.is_readable)]
    probabilities = [
        metrics.softmax(part, manifest.temperature)
        for part, manifest in zip(logits, (first, second), strict=True)
    ]

    def differences(chosen: np.ndarray, wrong: np.ndarray) -> tuple[Difference, ...]:
        places = np.flatnonzero(chosen)
        places = places[np.argsort(-wrong[places].max(axis=1), kind="stable")][:SHOWN]
        return tuple(
            Difference(
                image=mine.crops[rows[place]].copy(),
                name=mine.index.samples[rows[place]].id,
                truth=first.labels[labels[rows[place]]],
                readings=(first.labels[predictions[0][place]], first.labels[predictions[1][place]]),
                confidences=(float(probabilities[0][place].max()), float(probabilities[1][place].max())),
            )
            for place in places
        )

    return Comparison(
        summary=json_ready(summary),
        only_first=differences(is_right[0] & ~is_right[1], probabilities[1]),
        only_second=differences(is_right[1] & ~is_right[0], probabilities[0]),
    )


def _summarize(labels: np.ndarray, predictions: list[np.ndarray], names: tuple[str, ...]) -> dict[str, Any]:
    first, second = (part == labels for part in predictions)
    n, only_first, only_second = len(labels), int((first & ~second).sum()), int((second & ~first).sum())
    numbers = [_numbers(labels, part, len(names)) for part in predictions]
    return {
        "n": n,
        "first": numbers[0],
        "second": numbers[1],
        "difference": numbers[0]["accuracy"] - numbers[1]["accuracy"],
        "difference_interval": metrics.difference_interval(only_first, only_second, n),
        "table": {
            "both_right": int((first & second).sum()),
            "only_first": only_first,
            "only_second": only_second,
            "both_wrong": int((~first & ~second).sum()),
        },
        "mcnemar": {"p_value": metrics.mcnemar_test(only_first, only_second)},
        "classes": list(names),
        "per_class": {
            name: _class_numbers(first[labels == number], second[labels == number])
            for number, name in enumerate(names)
        },
    }


def _identity(manifest: Manifest) -> dict[str, str]:
    return {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}


def _numbers(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, Any]:
    correct = int((labels == predictions).sum())
    return {
        "correct": correct,
        "accuracy": metrics.accuracy(labels, predictions),
        "accuracy_interval": metrics.accuracy_interval(correct, len(labels)),
        "balanced_accuracy": metrics.balanced_accuracy(labels, predictions, classes),
        "macro_f1": metrics.macro_f1(labels, predictions, classes),
    }


def _class_numbers(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Recall of both models on the faces of one class, from whether each is right."""
    recalls = [float(part.mean()) if part.size else float("nan") for part in (first, second)]
    return {
        "n": first.size,
        "first": recalls[0],
        "second": recalls[1],
        "difference": recalls[0] - recalls[1],
        "only_first": int((first & ~second).sum()),
        "only_second": int((second & ~first).sum()),
    }


def _part_of(progress: Progress | None, number: int) -> Progress | None:
    """The progress of one model of two, as part of both."""
    if progress is None:
        return None
    return lambda done, count: progress(number * count + done, 2 * count)
