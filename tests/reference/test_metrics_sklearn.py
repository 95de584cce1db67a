"""Metrics against scikit-learn, on random predictions with and without missing classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from mien import metrics

CLASSES = 6
CASES = {
    "all classes": (range(6), range(6), 400),
    "class without labels": ((0, 1, 3, 4, 5), range(6), 300),
    "class never predicted": (range(6), (0, 2, 3, 5), 300),
    "class in neither": ((0, 1, 2), (1, 2, 5), 300),
    "one face": ((4,), (4,), 1),
    "nothing right": ((0, 1), (2, 3), 50),
}


def draw(case: str) -> tuple[np.ndarray, np.ndarray]:
    allowed, answered, n = CASES[case]
    rng = np.random.default_rng(len(case))
    labels, guesses = rng.choice(list(allowed), n), rng.choice(list(answered), n)
    can_be_right = np.isin(labels, list(answered)) & (rng.random(n) < 0.6)
    return labels, np.where(can_be_right, labels, guesses)


@pytest.mark.parametrize("case", CASES)
def test_counts_and_scores(case):
    labels, predictions = draw(case)
    expected = reference.confusion_matrix(labels, predictions, labels=range(CLASSES))
    found = metrics.confusion_matrix(labels, predictions, CLASSES)
    assert np.array_equal(found[:, :-1], expected)
    assert not found[:, -1].any()
    assert metrics.accuracy(labels, predictions) == pytest.approx(
        reference.accuracy_score(labels, predictions)
    )
    expected_f1 = reference.f1_score(labels, predictions, average="macro", zero_division=0)
    assert metrics.macro_f1(labels, predictions, CLASSES) == pytest.approx(expected_f1)


@pytest.mark.parametrize("case", CASES)
def test_balanced_accuracy(case):
    labels, predictions = draw(case)
    expected = reference.recall_score(
        labels, predictions, labels=np.unique(labels), average="macro", zero_division=0
    )
    assert metrics.balanced_accuracy(labels, predictions, CLASSES) == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES)
def test_per_class(case):
    labels, predictions = draw(case)
    expected = reference.precision_recall_fscore_support(
        labels, predictions, labels=range(CLASSES), zero_division=np.nan
    )
    found = metrics.precision_recall_f1(labels, predictions, CLASSES)
    np.testing.assert_allclose(found.precision, expected[0])
    np.testing.assert_allclose(found.recall, expected[1])
    np.testing.assert_allclose(found.f1, expected[2])
    assert np.array_equal(found.support, expected[3])


def test_missed_faces_are_a_class_that_is_never_true():
    labels, predictions = draw("all classes")
    predictions = np.where(np.arange(labels.size) % 7 == 0, -1, predictions)
    expected = reference.confusion_matrix(labels, predictions, labels=[*range(CLASSES), -1])
    assert np.array_equal(metrics.confusion_matrix(labels, predictions, CLASSES), expected[:-1])
    expected_f1 = reference.f1_score(labels, predictions, labels=range(CLASSES), average="macro")
    assert metrics.macro_f1(labels, predictions, CLASSES) == pytest.approx(expected_f1)
    expected_recall = reference.recall_score(labels, predictions, labels=range(CLASSES), average="macro")
    assert metrics.balanced_accuracy(labels, predictions, CLASSES) == pytest.approx(expected_recall)


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_and_brier(seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(CLASSES), 200), rng.integers(0, CLASSES, 200)
    expected = reference.log_loss(labels, probabilities, labels=range(CLASSES))
    assert metrics.negative_log_likelihood(probabilities, labels) == pytest.approx(expected)
    one_against_rest = sum(
        reference.brier_score_loss(labels == index, probabilities[:, index]) for index in range(CLASSES)
    )
    assert metrics.brier_score(probabilities, labels) == pytest.approx(one_against_rest)
