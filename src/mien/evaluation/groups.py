"""Accuracy by group: the columns of a data set beside the label, such as gender, age or race.

Groups hold what annotators perceived, or where an image comes from. They show on which faces a model does worse; they
are not statements about a person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mien.datasets.index import Sample
from mien.evaluation.summary import accuracy_scores, json_ready

MIN_FACES = 20
"""Minimum faces of a group that is compared with others; smaller groups are listed only."""
MAX_GROUPS = 40
"""Maximum distinct values of a column; one with more identifies single faces (a person, a file) and is skipped."""
UNSTATED = "not stated"
"""Group of the faces with an empty cell; it is listed, but not compared with others."""


def group_columns(samples: Sequence[Sample]) -> dict[str, list[str]]:
    """Return the group of every sample for each column with 2 to `MAX_GROUPS` distinct values."""
    return {name: values for name, values in _columns(samples).items() if 1 < len(set(values)) <= MAX_GROUPS}


def columns_left_out(samples: Sequence[Sample]) -> dict[str, str]:
    """Return each column with more than `MAX_GROUPS` distinct values, and a message that says so."""
    counts = {name: len(set(values)) for name, values in _columns(samples).items()}
    return {name: f"{count:,} values, more than {MAX_GROUPS}" for name, count in counts.items() if count > MAX_GROUPS}


def _columns(samples: Sequence[Sample]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for sample in samples for name in sample.groups)
    return {name: [sample.groups.get(name) or UNSTATED for sample in samples] for name in names}


def group_results(
    labels: np.ndarray, predictions: np.ndarray, groups: dict[str, list[str]], classes: int
) -> dict[str, Any]:
    """Return the accuracy of every group and the largest difference between the groups of a column.

    Args:
        labels: (N,) class ids.
        predictions: (N,) class ids; -1 where no face was detected, which counts as an error.
        groups: the N group names of each column.
        classes: number of classes.

    Returns:
        For each column, in JSON types: `groups`, `accuracy_difference` and `balanced_accuracy_difference`. Each group
        has n, correct, accuracy, its 95 % interval, balanced accuracy (over the classes that occur in the group) and
        `is_enough`: it has at least `MIN_FACES` faces. A difference is the maximum minus the minimum over the groups
        with enough faces except `UNSTATED`, and None for fewer than two of them.
    """
    labels = np.asarray(labels)
    predictions = np.asarray(predictions)
    return json_ready(
        {column: _column_results(labels, predictions, np.asarray(names), classes) for column, names in groups.items()}
    )


def _column_results(labels: np.ndarray, predictions: np.ndarray, names: np.ndarray, classes: int) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    for name in sorted(np.unique(names).tolist(), key=_natural_order):
        is_member = names == name
        n = int(is_member.sum())
        scores = accuracy_scores(labels[is_member], predictions[is_member], classes)
        groups[name] = {"n": n, **scores, "is_enough": n >= MIN_FACES}
    compared = [group for name, group in groups.items() if group["is_enough"] and name != UNSTATED]
    return {
        "groups": groups,
        "accuracy_difference": _difference([group["accuracy"] for group in compared]),
        "balanced_accuracy_difference": _difference([group["balanced_accuracy"] for group in compared]),
    }


def _difference(scores: list[float]) -> float | None:
    return max(scores) - min(scores) if len(scores) > 1 else None


def _natural_order(name: str) -> list[tuple[bool, int, str]]:
    """Return a sort key that orders numbers by value: 4-19 before 20-39."""
    parts = filter(None, re.split(r"(\d+)", name))
    # digits of equal number are ordered like their values; Python converts at most 4,300 of them
    digits = ((part.isdecimal(), part.lstrip("0") if part.isdecimal() else part.casefold()) for part in parts)
    return [(not is_number, len(text) if is_number else 0, text) for is_number, text in digits]
