"""What holds for the metrics whatever the numbers are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien import metrics

quick = settings(max_examples=40, deadline=None)
CLASSES = 4


@st.composite
def answers(draw):
    n = draw(st.integers(1, 30))
    labels = draw(arrays(np.int64, n, elements=st.integers(0, CLASSES - 1)))
    return labels, draw(arrays(np.int64, n, elements=st.integers(-1, CLASSES - 1)))


@st.composite
def logits_and_labels(draw):
    n = draw(st.integers(1, 30))
    logits = draw(arrays(np.float64, (n, CLASSES), elements=st.floats(-30, 30, width=32)))
    return logits, draw(arrays(np.int64, n, elements=st.integers(0, CLASSES - 1)))


@quick
@given(answers())
def test_confusion_adds_up(case):
    labels, predictions = case
    confusion = metrics.confusion_matrix(labels, predictions, CLASSES)
    assert confusion.sum() == labels.size
    assert np.trace(confusion) / labels.size == metrics.accuracy(labels, predictions)
    assert confusion[:, -1].sum() == np.sum(predictions == metrics.NO_ANSWER)


@quick
@given(answers(), st.permutations(range(CLASSES)), st.randoms(use_true_random=False))
def test_scores_ignore_the_order_of_faces_and_of_classes(case, renamed, random):
    labels, predictions = case
    order = list(range(labels.size))
    random.shuffle(order)
    names = np.array([*renamed, metrics.NO_ANSWER])
    for score in (metrics.balanced_accuracy, metrics.macro_f1):
        expected = score(labels, predictions, CLASSES)
        assert 0 <= expected <= 1
        assert np.isclose(score(names[labels][order], names[predictions][order], CLASSES), expected)


@quick
@given(answers())
def test_right_answers_score_one(case):
    labels, _ = case
    assert metrics.accuracy(labels, labels) == 1
    assert metrics.balanced_accuracy(labels, labels, CLASSES) == 1
    assert metrics.macro_f1(labels, labels, CLASSES) == 1


@quick
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_share_and_is_symmetric(case):
    correct, n = case
    low, high = metrics.accuracy_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert high > low
    assert np.allclose(metrics.accuracy_interval(n - correct, n), (1 - high, 1 - low))


@quick
@given(logits_and_labels(), st.floats(0.1, 10))
def test_softmax_is_a_distribution_that_keeps_the_answer(case, temperature):
    logits, _ = case
    probabilities = metrics.softmax(logits, temperature)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities >= 0).all()
    rows, chosen = np.arange(len(logits)), logits.argmax(axis=1)
    assert np.array_equal(probabilities[rows, chosen], probabilities.max(axis=1))
    assert np.allclose(metrics.softmax(logits + 5, temperature), probabilities)


@quick
@given(logits_and_labels())
def test_calibration_scores_are_within_bounds(case):
    logits, labels = case
    probabilities = metrics.softmax(logits)
    right = metrics.choose_labels(probabilities) == labels
    one_bin = metrics.expected_calibration_error(probabilities, labels, bins=1)
    many = metrics.expected_calibration_error(probabilities, labels)
    assert np.isclose(one_bin, abs(probabilities.max(axis=1).mean() - right.mean()))
    assert one_bin - 1e-12 <= many <= 1
    assert 0 <= metrics.brier_score(probabilities, labels) <= 2


@quick
@given(logits_and_labels())
def test_no_other_temperature_is_likelier(case):
    logits, labels = case
    best = metrics.fit_temperature(logits, labels)
    assert 0.05 <= best <= 20
    loss = metrics.negative_log_likelihood(metrics.softmax(logits, best), labels)
    for other in np.geomspace(0.05, 20, 25):
        assert loss <= metrics.negative_log_likelihood(metrics.softmax(logits, other), labels) + 1e-6


@quick
@given(logits_and_labels())
def test_risk_at_full_coverage_is_the_error(case):
    logits, labels = case
    probabilities = metrics.softmax(logits)
    curve = metrics.risk_coverage(probabilities, labels)
    assert curve.coverage[-1] == 1
    assert np.isclose(curve.risk[-1], 1 - metrics.accuracy(labels, metrics.choose_labels(probabilities)))
    assert (np.diff(curve.coverage) > 0).all()
    assert (np.diff(curve.threshold) < 0).all()


@quick
@given(logits_and_labels())
def test_area_under_risk_is_the_mean_over_every_number_of_answers(case):
    logits, labels = case
    probabilities = metrics.softmax(logits)
    confidence, is_wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    risks = [is_wrong[confidence >= least].mean() for least in confidence]  # one row's threshold each
    assert np.isclose(metrics.area_under_risk(metrics.risk_coverage(probabilities, labels)), np.mean(risks))
