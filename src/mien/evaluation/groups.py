"""How a model does on each group of faces: where it fails, not what people are.

Groups are columns of the data set: what its annotators perceived (gender, age, race), or where a face comes from.
They are shown to find out whom a model reads worse, and are no statement about anybody. Needs the extra `report`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.index import Sample
from mien.errors import MissingExtraError
from mien.evaluation.summary import json_ready

MIN_FACES = 20
"""A group of fewer faces is shown, but is too small to be judged: it takes no part in the differences."""
MAX_GROUPS = 40
"""A column of more values than this names the faces (a person, a file) rather than groups; it is not measured."""
UNSTATED = "not stated"
"""The group of the faces whose column is empty; it is shown, but takes no part in the differences."""


def check_installed() -> None:
    """Refuse early what `group_results` would refuse late.

    Raises:
        MissingExtraError: when fairlearn is not installed.
    """
    try:
        import fairlearn.metrics  # noqa: F401
    except ImportError:
        raise MissingExtraError("A result for each group", "report") from None


def group_columns(samples: Sequence[Sample]) -> dict[str, list[str]]:
    """Column -> the group of every sample, for the columns that divide these samples into groups.

    A column with one value divides nothing, and one with more than `MAX_GROUPS` divides too much: both are left out.
    """
    return {name: values for name, values in _columns(samples).items() if 1 < len(set(values)) <= MAX_GROUPS}


def columns_left_out(samples: Sequence[Sample]) -> dict[str, str]:
    """Column -> why it is not measured, for the columns that divide these samples too much."""
    counts = {name: len(set(values)) for name, values in _columns(samples).items()}
    return {
        name: f"{count:,} values, more than {MAX_GROUPS}"
        for name, count in counts.items()
        if count > MAX_GROUPS
    }


def _columns(samples: Sequence[Sample]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for sample in samples for name in sample.groups)
    return {name: [sample.groups.get(name) or UNSTATED for sample in samples] for name in names}


def group_results(
    labels: np.ndarray, predictions: np.ndarray, groups: dict[str, list[str]], classes: int
) -> dict[str, Any]:
    """Accuracy of every group, and how far the groups of a column are apart.

    Args:
        labels: (N,) class numbers.
        predictions: (N,) class numbers; -1 where no face was found, which counts as an error.
        groups: column -> (N) names.
        classes: how many there are.

    Returns:
        Ready for JSON: column -> `groups`, `accuracy_difference` and `balanced_accuracy_difference`. Each of `groups`
        has n, correct, accuracy, its 95 % interval, balanced accuracy (over the classes that the group has) and
        `is_enough`, whether it has `MIN_FACES`. A difference is the largest minus the smallest value among the
        groups that are enough and not `UNSTATED`; None when they are fewer than two.

    Raises:
        MissingExtraError: when fairlearn is not installed.
    """
    check_installed()
    return json_ready(
        {
            column: _column(np.asarray(labels), np.asarray(predictions), np.asarray(names), classes)
            for column, names in groups.items()
        }
    )


def _column(labels: np.ndarray, predictions: np.ndarray, names: np.ndarray, classes: int) -> dict[str, Any]:
    rows = _frame(labels, predictions, names, classes).by_group.to_dict("index")
    groups = {name: _group(rows[name]) for name in sorted(rows, key=_natural)}
    enough = [name for name, group in groups.items() if group["is_enough"] and name != UNSTATED]
    differences = dict.fromkeys(("accuracy", "balanced_accuracy"))
    if len(enough) > 1:
        kept = np.isin(names, enough)
        differences = _frame(labels[kept], predictions[kept], names[kept], classes).difference()
    return {
        "groups": groups,
        "accuracy_difference": differences["accuracy"],
        "balanced_accuracy_difference": differences["balanced_accuracy"],
    }


def _frame(labels: np.ndarray, predictions: np.ndarray, names: np.ndarray, classes: int) -> Any:
    from fairlearn.metrics import MetricFrame, count

    return MetricFrame(
        metrics={
            "n": count,
            "accuracy": metrics.accuracy,
            "balanced_accuracy": partial(metrics.balanced_accuracy, classes=classes),
        },
        y_true=labels,
        y_pred=predictions,
        sensitive_features=names,
    )


def _group(row: dict[str, float]) -> dict[str, Any]:
    n = round(row["n"])
    correct = round(row["accuracy"] * n)
    return {
        "n": n,
        "correct": correct,
        "accuracy": row["accuracy"],
        "accuracy_interval": metrics.accuracy_interval(correct, n),
        "balanced_accuracy": row["balanced_accuracy"],
        "is_enough": n >= MIN_FACES,
    }


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts 4-19 before 20-39."""
    parts = filter(None, re.split(r"(\d+)", name))
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part.casefold()) for part in parts]
