"""Metrics compared with scikit-learn on random predictions with and without missing classes."""

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
    "nothing correct": ((0, 1), (2, 3), 50),
}


def draw(case: str) -> tuple[np.ndarray, np.ndarray]:
    label_classes, predicted_classes, n = CASES[case]
    rng = np.random.default_rng(len(case))
    labels = rng.choice(list(label_classes), n)
    guesses = rng.choice(list(predicted_classes), n)
    is_correct = np.isin(labels, list(predicted_classes)) & (rng.random(n) < 0.6)
    return labels, np.where(is_correct, labels, guesses)


@pytest.mark.parametrize("case", CASES)
def test_confusion_accuracy_and_f1_match_sklearn(case):
    labels, predictions = draw(case)
    expected = reference.confusion_matrix(labels, predictions, labels=range(CLASSES))
    confusion = metrics.confusion_matrix(labels, predictions, CLASSES)
    assert np.array_equal(confusion[:, :-1], expected)
    assert not confusion[:, -1].any()
    assert metrics.accuracy(labels, predictions) == pytest.approx(reference.accuracy_score(labels, predictions))
    present = np.unique(labels)
    expected_f1 = reference.f1_score(labels, predictions, labels=present, average="macro", zero_division=0)
    assert metrics.macro_f1(labels, predictions, CLASSES) == pytest.approx(expected_f1)


@pytest.mark.parametrize("case", CASES)
def test_balanced_accuracy_matches_sklearn(case):
    labels, predictions = draw(case)
    expected = reference.recall_score(labels, predictions, labels=np.unique(labels), average="macro", zero_division=0)
    assert metrics.balanced_accuracy(labels, predictions, CLASSES) == pytest.approx(expected)


@pytest.mark.parametrize("case", CASES)
def test_per_class_scores_match_sklearn(case):
    labels, predictions = draw(case)
    expected = reference.precision_recall_fscore_support(
        labels, predictions, labels=range(CLASSES), zero_division=np.nan
    )
    scores = metrics.precision_recall_f1(labels, predictions, CLASSES)
    np.testing.assert_allclose(scores.precision, expected[0])
    np.testing.assert_allclose(scores.recall, expected[1])
    np.testing.assert_allclose(scores.f1, expected[2])
    assert np.array_equal(scores.support, expected[3])


def test_missing_predictions_are_a_class_without_labels():
    labels, predictions = draw("all classes")
    predictions = np.where(np.arange(labels.size) % 7 == 0, -1, predictions)
    expected = reference.confusion_matrix(labels, predictions, labels=[*range(CLASSES), -1])
    assert np.array_equal(metrics.confusion_matrix(labels, predictions, CLASSES), expected[:-1])
    expected_f1 = reference.f1_score(labels, predictions, labels=range(CLASSES), average="macro")
    assert metrics.macro_f1(labels, predictions, CLASSES) == pytest.approx(expected_f1)
    expected_recall = reference.recall_score(labels, predictions, labels=range(CLASSES), average="macro")
    assert metrics.balanced_accuracy(labels, predictions, CLASSES) == pytest.approx(expected_recall)


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_and_brier_score_match_sklearn(seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(CLASSES), 200), rng.integers(0, CLASSES, 200)
    expected = reference.log_loss(labels, probabilities, labels=range(CLASSES))
    assert metrics.negative_log_likelihood(probabilities, labels) == pytest.approx(expected)
    one_vs_rest = sum(reference.brier_score_loss(labels == index, probabilities[:, index]) for index in range(CLASSES))
    assert metrics.brier_score(probabilities, labels) == pytest.approx(one_vs_rest)
