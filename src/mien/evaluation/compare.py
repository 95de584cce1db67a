"""Two models on the same faces: which is better, whether that may be chance, and where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.index import Index
from mien.evaluation.evaluate import (
    DatasetPredictions,
    check_classes,
    official_labels,
    predict_dataset,
    select_labeled,
)
from mien.evaluation.summary import json_ready
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest
from mien.progress import Progress

SHOWN = 16
"""Faces that are kept with their images for each model that alone reads them right."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A face that one of two models reads right and the other wrong.

    Attributes:
        image: (S, S, 3) uint8 RGB, as the first model saw it.
        name: the image's id.
        truth: the label.
        predictions: what the first and the second model said.
        confidences: how sure they were, 0..1.
    """

    image: np.ndarray
    name: str
    truth: str
    predictions: tuple[str, str]
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
    flip_tta: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Read the faces of a data set with two models, and compare how often they are right.

    Faces are found, cut and counted as in `mien.evaluation.evaluate`, by the data set's official protocol.

    Args:
        first: a model.
        second: another one. Either may know a class that the other does not: to say it, where no face shows it, is
            a mistake like any other.
        index: the data set, one split of it.
        flip_tta: average with the mirrored crop.
        progress: told how many readings are done, of both models together.

    Returns:
        A summary that is ready for JSON: `n`; `first` and `second`, each with the model's name, version and sha256,
        correct, accuracy, its 95 % interval, balanced accuracy and macro F1; `difference` of the accuracies, first
        minus second, and `difference_interval`; `table` with the faces that both, one or none reads right; `mcnemar`
        with the p value of the exact test; `per_class` with the recall of both; `unknown` with the classes that each
        does not know and the other does; `missed_faces`, `unreadable_faces` and `unanswered_faces` of the first model;
        `unreadable` with the images' names.

    Raises:
        InputError: when the faces show a class that one of the models does not know.
        DatasetError: when no image has a label.
    """
    for classifier in (first, second):
        check_classes(classifier.manifest, index)
    labeled = select_labeled(index)
    readings = [
        predict_dataset(classifier, labeled, flip_tta=flip_tta, progress=_part_of(progress, number))
        for number, classifier in enumerate((first, second))
    ]
    return compare_predictions(first.manifest, second.manifest, readings[0], readings[1])


def compare_predictions(
    first: Manifest, second: Manifest, mine: DatasetPredictions, other: DatasetPredictions
) -> Comparison:
    """The comparison behind two models' answers to the same images; see `compare`."""
    labels = official_labels(first, mine.index)
    rows = np.flatnonzero(labels >= 0)
    names = first.labels + tuple(name for name in second.labels if name not in first.labels)
    answers = [
        _answers(manifest, part.logits[rows], names) for manifest, part in ((first, mine), (second, other))
    ]
    (chosen_first, sure_first), (chosen_second, sure_second) = answers
    is_right = [chosen_first == labels[rows], chosen_second == labels[rows]]
    summary = _summarize(labels[rows], [chosen_first, chosen_second], names)
    for key, manifest in (("first", first), ("second", second)):
        summary[key] = {**_identity(manifest), **summary[key]}
    summary["unknown"] = {
        key: [name for name in names if name not in manifest.labels]
        for key, manifest in (("first", first), ("second", second))
    }
    lost = rows[~mine.is_readable[rows]]
    summary["missed_faces"] = int((~mine.is_found & mine.is_readable)[rows].sum())
    summary["unreadable_faces"] = len(lost)
    summary["unanswered_faces"] = int((chosen_first == metrics.NO_ANSWER).sum())
    summary["unreadable"] = [mine.index.samples[row].id for row in lost]

    def differences(chosen: np.ndarray, wrong: np.ndarray) -> tuple[Difference, ...]:
        places = np.flatnonzero(chosen)
        places = places[np.argsort(-wrong[places], kind="stable")][:SHOWN]
        return tuple(
            Difference(
                image=mine.crop(int(rows[place])),
                name=mine.index.samples[rows[place]].id,
                truth=names[labels[rows[place]]],
                predictions=(names[chosen_first[place]], names[chosen_second[place]]),
                confidences=(float(sure_first[place]), float(sure_second[place])),
            )
            for place in places
        )

    return Comparison(
        summary=json_ready(summary),
        only_first=differences(is_right[0] & ~is_right[1], sure_second),
        only_second=differences(is_right[1] & ~is_right[0], sure_first),
    )


def _answers(manifest: Manifest, logits: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What a model says, as numbers (N,) of `names`, `NO_ANSWER` where it missed the face; and how sure it is."""
    numbers = np.array([*(names.index(name) for name in manifest.labels), metrics.NO_ANSWER])
    chosen = metrics.choose_labels(logits)
    return numbers[chosen], metrics.softmax(logits, manifest.temperature).max(axis=1)


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
