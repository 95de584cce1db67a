"""Evaluation summary: empty input, missed faces, temperature, and JSON types."""

from __future__ import annotations

import json
from collections import OrderedDict

import numpy as np
import pytest

from mien import metrics
from mien.errors import InputError
from mien.evaluation.summary import json_ready, summarize

CLASSES = ("neutral", "happiness", "fear")


def make_case() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 90)
    return labels, rng.normal(size=(90, 3)) * 3 + 2 * np.eye(3)[labels]


def test_scores_of_no_faces_are_undefined():
    summary = summarize([], np.zeros((0, 3)), CLASSES)
    assert summary["n"] == summary["unanswered_faces"] == 0
    assert summary["accuracy_interval"] == [None, None]
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "ece", "ece_uncalibrated", "brier", "nll"):
        assert summary[key] is None, key
    assert summary["confusion"] == [[0, 0, 0]] * 3
    assert summary["per_class"]["fear"] == {"precision": None, "recall": None, "f1": None, "n": 0, "unanswered": 0}
    assert summary["selective"] == []
    assert summarize([], [], CLASSES) == summary


def test_only_missed_faces():
    summary = summarize([0, 1], np.full((2, 3), np.nan), CLASSES, temperature=2.0)
    assert (summary["n"], summary["unanswered_faces"], summary["accuracy"]) == (2, 2, 0.0)
    assert summary["ece"] is None
    assert summary["per_class"]["happiness"]["unanswered"] == 1
    json.dumps(summary, allow_nan=False)


def test_missed_faces_are_errors_without_confidence():
    labels, logits = make_case()
    whole = summarize(labels, logits, CLASSES, temperature=1.7)
    missed = summarize(
        np.append(labels, [2, 2]), np.vstack([logits, np.full((2, 3), np.nan)]), CLASSES, temperature=1.7
    )
    assert missed["unanswered_faces"] == 2
    assert missed["accuracy"] == pytest.approx(whole["accuracy"] * 90 / 92, abs=1e-6)
    assert missed["per_class"]["fear"]["recall"] < whole["per_class"]["fear"]["recall"]
    assert missed["per_class"]["fear"]["n"] == whole["per_class"]["fear"]["n"] + 2
    assert missed["confusion"] == whole["confusion"]
    for key in ("ece", "brier", "nll", "reliability", "selective"):
        assert missed[key] == whole[key], key


def test_temperature_changes_only_confidence():
    labels, logits = make_case()
    cold, warm = summarize(labels, logits, CLASSES), summarize(labels, logits, CLASSES, temperature=2.5)
    assert cold["ece"] == cold["ece_uncalibrated"] == warm["ece_uncalibrated"]
    assert warm["ece"] != cold["ece"]
    assert warm["reliability"]["before"] == cold["reliability"]["after"]
    for key in ("accuracy", "macro_f1", "confusion", "per_class"):
        assert warm[key] == cold[key], key
    assert warm["ece"] == pytest.approx(
        metrics.expected_calibration_error(metrics.softmax(logits, 2.5), labels), abs=1e-6
    )


def test_scores_agree_with_the_confusion_matrix():
    labels, logits = make_case()
    summary = summarize(labels, logits, CLASSES)
    confusion = np.array(summary["confusion"])
    assert summary["n"] == confusion.sum() == 90
    assert summary["correct"] == np.trace(confusion)
    assert summary["accuracy"] == pytest.approx(np.trace(confusion) / 90, abs=1e-6)
    low, high = summary["accuracy_interval"]
    assert low < summary["accuracy"] < high
    assert list(summary["per_class"]) == summary["classes"] == list(CLASSES)
    assert [item["n"] for item in summary["per_class"].values()] == confusion.sum(axis=1).tolist()
    assert summary["selective"][0]["accuracy"] == summary["accuracy"]
    assert sum(summary["reliability"]["after"]["count"]) == 90


def test_summary_survives_json():
    summary = summarize(*make_case(), CLASSES, temperature=np.float32(1.5))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_json_ready_converts_numpy_and_nan():
    value = OrderedDict(a=np.float32("nan"), b=(np.int64(3), [np.bool_(True), float("inf")]), c=np.arange(2.0))
    assert json_ready(value) == {"a": None, "b": [3, [True, None]], "c": [0.0, 1.0]}
    assert json_ready({1: 0.12345678, "text": "x", "none": None}) == {"1": 0.123457, "text": "x", "none": None}


@pytest.mark.parametrize(
    ("labels", "logits", "classes", "message"),
    [
        ([0], np.zeros((1, 2)), CLASSES, "one column for each of 3"),
        ([0, 1], np.zeros((3, 2)), CLASSES, "one column for each of 3"),  # six numbers, but not two rows of three
        ([0], np.zeros((2, 3)), CLASSES, "1 labels, but 2"),
        ([3], np.zeros((1, 3)), CLASSES, "labels: 3"),
        ([0], np.zeros((1, 2)), ("fear", "fear"), "is repeated"),
    ],
)
def test_rejects_arrays_of_different_shapes(labels, logits, classes, message):
    with pytest.raises(InputError, match=message):
        summarize(labels, logits, classes)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_shift_acts_alike_before_and_after_the_temperature(temperature):
    shift = np.log([4.0, 1.0])
    logits = np.zeros((4, 2)) + temperature * shift
    summary = summarize(np.array([0, 0, 0, 1]), logits, ("neutral", "anger"), temperature, shift=shift)
    assert summary["ece"] == summary["ece_uncalibrated"] == pytest.approx(0.05)
