"""Metrics on empty input and on small cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien import metrics
from mien.errors import InputError

EMPTY = np.zeros(0, dtype=int)
NO_ROWS = np.zeros((0, 3))


@pytest.mark.parametrize(
    "score",
    [
        lambda: metrics.accuracy(EMPTY, EMPTY),
        lambda: metrics.balanced_accuracy(EMPTY, EMPTY, 3),
        lambda: metrics.macro_f1(EMPTY, EMPTY, 3),
        lambda: metrics.expected_calibration_error(NO_ROWS, EMPTY),
        lambda: metrics.brier_score(NO_ROWS, EMPTY),
        lambda: metrics.negative_log_likelihood(NO_ROWS, EMPTY),
        lambda: metrics.accuracy_interval(0, 0)[0],
        lambda: metrics.accuracy_interval(0, 0)[1],
    ],
)
def test_scores_of_empty_input_are_nan(score):
    assert math.isnan(score())


def test_empty_input_has_zero_counts_and_no_rows():
    assert metrics.confusion_matrix(EMPTY, EMPTY, 3).tolist() == [[0] * 4] * 3
    assert metrics.choose_labels(NO_ROWS).shape == (0,)
    assert metrics.softmax(NO_ROWS).shape == (0, 3)
    assert metrics.risk_coverage(NO_ROWS, EMPTY).coverage.shape == (0,)
    assert metrics.reliability_bins(NO_ROWS, EMPTY, bins=4).count.tolist() == [0] * 4
    scores = metrics.precision_recall_f1([], [], 2)
    assert np.isnan([scores.precision, scores.recall, scores.f1]).all()
    assert scores.support.tolist() == [0, 0]


def test_fit_temperature_rejects_empty_input():
    with pytest.raises(InputError, match="validation data"):
        metrics.fit_temperature(NO_ROWS, EMPTY)


def test_missing_prediction_is_wrong_and_has_its_own_column():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, -1, 1, 0])
    assert metrics.confusion_matrix(labels, predictions, 2).tolist() == [[1, 0, 1], [1, 1, 0]]
    assert metrics.accuracy(labels, predictions) == 0.5
    assert metrics.balanced_accuracy(labels, predictions, 2) == 0.5
    scores = metrics.precision_recall_f1(labels, predictions, 2)
    assert scores.precision.tolist() == [0.5, 1.0]
    assert scores.recall.tolist() == [0.5, 0.5]
    assert scores.f1 == pytest.approx([0.5, 2 / 3])


def test_scores_without_any_prediction():
    labels, predictions = np.array([0, 1]), np.array([-1, -1])
    assert metrics.accuracy(labels, predictions) == 0.0
    assert metrics.macro_f1(labels, predictions, 3) == 0.0
    scores = metrics.precision_recall_f1(labels, predictions, 3)
    assert np.isnan(scores.precision).all()
    assert scores.recall[:2].tolist() == [0.0, 0.0]
    assert math.isnan(scores.recall[2])
    assert math.isnan(scores.f1[2])


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Wilson's interval computed from the published formula.
    [(81, 263, 0.255290, 0.366244), (15, 148, 0.062386, 0.160489), (0, 20, 0.0, 0.161125), (29, 29, 0.883028, 1.0)],
)
def test_wilson_interval(correct, n, low, high):
    assert metrics.accuracy_interval(correct, n) == pytest.approx((low, high), abs=2e-4)


@pytest.mark.parametrize(("correct", "n"), [(-1, 3), (4, 3)])
def test_interval_rejects_impossible_counts(correct, n):
    with pytest.raises(InputError, match="correct"):
        metrics.accuracy_interval(correct, n)


def test_expected_calibration_error_of_two_bins():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])  # confidence 0.9: half correct; confidence 0.6: all correct
    assert metrics.expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(0.4)
    assert metrics.expected_calibration_error(probabilities, labels, bins=1) == pytest.approx(0.0)


def test_reliability_bins_include_their_upper_edge():
    reliability = metrics.reliability_bins(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1]), bins=2)
    assert reliability.count.tolist() == [1, 1]
    assert reliability.accuracy.tolist() == [1.0, 1.0]


def test_brier_score_and_likelihood_of_two_rows():
    probabilities, labels = np.array([[0.8, 0.2, 0.0], [0.0, 0.0, 1.0]]), np.array([0, 2])
    assert metrics.brier_score(probabilities, labels) == pytest.approx((0.04 + 0.04) / 2)
    assert metrics.negative_log_likelihood(probabilities, labels) == pytest.approx(-math.log(0.8) / 2)
    assert metrics.negative_log_likelihood(probabilities, [2, 2]) == pytest.approx(708.4 / 2, abs=0.1)


def test_softmax_is_stable_and_keeps_nan_rows():
    probabilities = metrics.softmax(np.array([[1e4, 0.0], [0.0, 0.0], [np.nan, np.nan]]))
    assert probabilities[:2].tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert np.isnan(probabilities[2]).all()
    assert metrics.softmax([[2.0, 0.0]], temperature=2)[0, 0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert metrics.softmax([[1e308, -1e308]], temperature=1e-9).tolist() == [[1.0, 0.0]]


def test_choose_labels_returns_argmax():
    assert metrics.choose_labels([[0.0, 2.0], [np.nan, np.nan], [3.0, 1.0]]).tolist() == [1, -1, 0]


def test_fit_temperature_recovers_the_applied_temperature():
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(20_000, 4)) * 2
    labels = np.array([rng.choice(4, p=row) for row in metrics.softmax(logits)])
    assert metrics.fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)
    assert metrics.fit_temperature(logits / 2, labels) == pytest.approx(0.5, rel=0.05)


def test_fit_temperature_is_one_for_uniform_logits():
    assert metrics.fit_temperature(np.zeros((5, 3)), np.array([0, 1, 2, 0, 1])) == 1.0


def test_risk_coverage_merges_equal_confidences():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.3, 0.7], [0.6, 0.4]])
    curve = metrics.risk_coverage(probabilities, np.array([0, 0, 0, 1]))
    assert curve.threshold.tolist() == [0.9, 0.7, 0.6]  # equal confidences form one point
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk == pytest.approx([0, 1 / 3, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([0, 1], [0]), "2 labels, but 1 predictions"),
        (lambda: metrics.accuracy([0.5], [0]), "class IDs"),
        (lambda: metrics.accuracy([[0]], [[0]]), "class IDs"),
        (lambda: metrics.accuracy([-1], [0]), "class IDs of at least 0"),
        (lambda: metrics.accuracy([0], [-2]), "class IDs of at least -1"),
        (lambda: metrics.confusion_matrix([3], [0], 3), "labels: 3"),
        (lambda: metrics.confusion_matrix([0], [3], 3), "predictions: 3"),
        (lambda: metrics.brier_score(np.ones((1, 2)), [0]), "does not sum to 1"),
        (lambda: metrics.brier_score([[1.5, -0.5]], [0]), "negative"),
        (lambda: metrics.brier_score([[np.nan, np.nan]], [0]), "not finite"),
        (lambda: metrics.brier_score([[0.5, 0.5]], [2]), "below 2"),
        (lambda: metrics.brier_score([0.5, 0.5], [0, 1]), r"expected \(N, C\)"),
        (lambda: metrics.brier_score([[0.5, 0.5]], [0, 1]), "2 labels, but 1 rows"),
        (lambda: metrics.reliability_bins([[0.5, 0.5]], [0], bins=0), "at least 1"),
        (lambda: metrics.softmax([[1.0, np.inf]]), "infinite"),
        (lambda: metrics.softmax([[1.0, np.nan]]), "nan in part"),
        (lambda: metrics.softmax([[1.0, 2.0]], temperature=0), "above 0"),
        (lambda: metrics.softmax([[1.0, 2.0]], temperature=math.nan), "above 0"),
        (lambda: metrics.fit_temperature([[np.nan, np.nan]], [0]), "not detected"),
    ],
)
def test_rejects_invalid_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("pairs", "p"),
    [
        ((0, 0), 1.0),
        ((5, 5), 1.0),
        ((5, 6), 1.0),
        ((0, 5), 2 / 32),
        ((8, 2), 2 * (1 + 10 + 45) / 1024),
        ((40, 0), 2 / 2**40),
        ((500_000, 500), 0.0),
    ],
)
def test_mcnemar_p_values(pairs, p):
    assert metrics.mcnemar_test(*pairs) == pytest.approx(p, rel=1e-9, abs=0)
    assert metrics.mcnemar_test(*pairs[::-1]) == metrics.mcnemar_test(*pairs)


def test_difference_interval_adds_one_face_to_each_count():
    assert all(math.isnan(end) for end in metrics.difference_interval(0, 0, 0))
    low, high = metrics.difference_interval(10, 10, 100)
    assert low == -high < 0
    low, high = metrics.difference_interval(30, 10, 100)
    first, second = 31 / 102, 11 / 102
    half = 1.959964 * math.sqrt((first + second - (first - second) ** 2) / 102)
    assert (low, high) == (pytest.approx(20 / 102 - half), pytest.approx(20 / 102 + half))
    assert metrics.difference_interval(1, 0, 1)[1] == 1.0


@pytest.mark.parametrize("call", [lambda: metrics.mcnemar_test(-1, 3), lambda: metrics.difference_interval(3, 2, 4)])
def test_rejects_impossible_pairs(call):
    with pytest.raises(InputError, match="expected counts of at least 0"):
        call()
