"""Invariants of the metrics under random input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien import metrics

quick = settings(max_examples=40, deadline=None)
CLASSES = 4


@st.composite
def labels_and_predictions(draw):
    n = draw(st.integers(1, 30))
    labels = draw(arrays(np.int64, n, elements=st.integers(0, CLASSES - 1)))
    return labels, draw(arrays(np.int64, n, elements=st.integers(-1, CLASSES - 1)))


@st.composite
def logits_and_labels(draw):
    n = draw(st.integers(1, 30))
    logits = draw(arrays(np.float64, (n, CLASSES), elements=st.floats(-30, 30, width=32)))
    return logits, draw(arrays(np.int64, n, elements=st.integers(0, CLASSES - 1)))


@quick
@given(labels_and_predictions())
def test_confusion_matrix_sums_to_the_number_of_faces(case):
    labels, predictions = case
    confusion = metrics.confusion_matrix(labels, predictions, CLASSES)
    assert confusion.sum() == labels.size
    assert np.trace(confusion) / labels.size == metrics.accuracy(labels, predictions)
    assert confusion[:, -1].sum() == np.sum(predictions == metrics.NO_PREDICTION)


@quick
@given(labels_and_predictions(), st.permutations(range(CLASSES)), st.randoms(use_true_random=False))
def test_scores_are_invariant_to_face_and_class_order(case, permutation, random):
    labels, predictions = case
    order = list(range(labels.size))
    random.shuffle(order)
    class_ids = np.array([*permutation, metrics.NO_PREDICTION])
    for score in (metrics.balanced_accuracy, metrics.macro_f1):
        expected = score(labels, predictions, CLASSES)
        assert 0 <= expected <= 1
        assert np.isclose(score(class_ids[labels][order], class_ids[predictions][order], CLASSES), expected)


@quick
@given(labels_and_predictions())
def test_correct_predictions_score_one(case):
    labels, _ = case
    assert metrics.accuracy(labels, labels) == 1
    assert metrics.balanced_accuracy(labels, labels, CLASSES) == 1
    assert metrics.macro_f1(labels, labels, CLASSES) == 1


@quick
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_contains_the_share_and_is_symmetric(case):
    correct, n = case
    low, high = metrics.accuracy_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert high > low
    assert np.allclose(metrics.accuracy_interval(n - correct, n), (1 - high, 1 - low))


@quick
@given(logits_and_labels(), st.floats(0.1, 10))
def test_softmax_is_a_distribution_with_the_same_argmax(case, temperature):
    logits, _ = case
    probabilities = metrics.softmax(logits, temperature)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities >= 0).all()
    rows, labels = np.arange(len(logits)), logits.argmax(axis=1)
    assert np.array_equal(probabilities[rows, labels], probabilities.max(axis=1))
    assert np.allclose(metrics.softmax(logits + 5, temperature), probabilities)


@quick
@given(logits_and_labels())
def test_calibration_scores_are_within_bounds(case):
    logits, labels = case
    probabilities = metrics.softmax(logits)
    is_correct = metrics.choose_labels(probabilities) == labels
    one_bin = metrics.expected_calibration_error(probabilities, labels, bins=1)
    many_bins = metrics.expected_calibration_error(probabilities, labels)
    assert np.isclose(one_bin, abs(probabilities.max(axis=1).mean() - is_correct.mean()))
    assert one_bin - 1e-12 <= many_bins <= 1
    assert 0 <= metrics.brier_score(probabilities, labels) <= 2


@quick
@given(logits_and_labels())
def test_fitted_temperature_has_maximum_likelihood(case):
    logits, labels = case
    best = metrics.fit_temperature(logits, labels)
    assert 0.05 <= best <= 20
    loss = metrics.negative_log_likelihood(metrics.softmax(logits, best), labels)
    for other in np.geomspace(0.05, 20, 25):
        assert loss <= metrics.negative_log_likelihood(metrics.softmax(logits, other), labels) + 1e-6


@quick
@given(logits_and_labels())
def test_risk_at_full_coverage_is_the_error_rate(case):
    logits, labels = case
    probabilities = metrics.softmax(logits)
    curve = metrics.risk_coverage(probabilities, labels)
    assert curve.coverage[-1] == 1
    assert np.isclose(curve.risk[-1], 1 - metrics.accuracy(labels, metrics.choose_labels(probabilities)))
    assert (np.diff(curve.coverage) > 0).all()
    assert (np.diff(curve.threshold) < 0).all()
