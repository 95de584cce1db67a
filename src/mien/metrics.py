"""How good a classifier is, and how well it knows it: pure functions over arrays, numpy only.

`labels` and `predictions` are (N,) class ids. A prediction of `NO_ANSWER` (-1) means that nothing was
predicted, for example because no face was found: it is never right, so it costs accuracy and the recall of
its class, and stands in a column of its own in the confusion matrix. `probabilities` are (N, C) with rows
that sum to 1; the functions that judge them need an answer in every row.

Empty input: a score of nothing is nan, a count of nothing is zero, and a curve of nothing has no points. Only
`fit_temperature` refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, lgamma, log, sqrt

import numpy as np

from mien.errors import InputError

NO_ANSWER = -1
_Z95 = 1.959963984540054
_TEMPERATURES = (0.05, 20.0)
_GOLDEN = (sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Precision, recall and F1 of every class, each (C,), and how many labels each has.

    A ratio without a denominator is nan: precision of a class never predicted, recall of a class without
    labels, F1 of a class with neither.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ReliabilityBins:
    """Top-label confidence against accuracy in equal-width bins.

    `edges` is (B + 1,); `count`, `confidence` and `accuracy` are (B,), the last two nan in an empty bin. A
    bin holds its upper edge, not its lower one.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """What abstaining buys: one point for every distinct confidence, from the surest answer down.

    Answering only where the confidence is at least `threshold` answers the share `coverage` of the rows and
    is wrong in the share `risk` of the answers. Each is (P,).
    """

    coverage: np.ndarray
    risk: np.ndarray
    threshold: np.ndarray


def choose_labels(logits: np.ndarray) -> np.ndarray:
    """The largest column of each row of logits or probabilities (N, C); `NO_ANSWER` where a row is all nan.

    Raises:
        InputError: for infinite values, or a row that is nan only in part.
    """
    logits = _matrix(logits, "logits")
    missed = _missed_rows(logits)
    return np.where(missed, NO_ANSWER, np.argmax(np.where(missed[:, None], 0.0, logits), axis=1))


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts (C, C + 1): rows are labels, columns predictions, the last column is "no answer".

    Example:
        >>> confusion_matrix([0, 1, 1], [0, 0, -1], classes=2)
        array([[1, 0, 0],
               [1, 0, 1]])
    """
    labels, predictions = _pair(labels, predictions)
    if labels.size and labels.max() >= classes:
        raise InputError(f"labels: {labels.max()} is not a class number below {classes}.")
    if predictions.size and predictions.max() >= classes:
        raise InputError(f"predictions: {predictions.max()} is not a class number below {classes}.")
    columns = np.where(predictions == NO_ANSWER, classes, predictions)
    cells = np.bincount(labels * (classes + 1) + columns, minlength=classes * (classes + 1))
    return cells.reshape(classes, classes + 1)


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of predictions that are right, 0..1; nan when there are none."""
    labels, predictions = _pair(labels, predictions)
    return float(np.mean(labels == predictions)) if labels.size else float("nan")


def accuracy_interval(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, without continuity correction; (nan, nan) when n is 0.

    Source:
        Wilson (JASA 1927). Unlike the normal interval it stays within 0..1 and has a width at 0 % and 100 %.
    """
    if not 0 <= correct <= n:
        raise InputError(f"{correct} right of {n}: expected 0 <= correct <= n.")
    if n == 0:
        return float("nan"), float("nan")
    share, weight = correct / n, _Z95 * _Z95 / n
    middle = (share + weight / 2) / (1 + weight)
    half = _Z95 * sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return (
        0.0 if correct == 0 else max(0.0, middle - half),
        1.0 if correct == n else min(1.0, middle + half),
    )


def mcnemar_test(only_first: int, only_second: int) -> float:
    """Whether two classifiers that read the same faces are equally often right: the p value, 0..1.

    Only the faces that one alone reads right count: the exact binomial test of a half, two-sided. No such face, or as
    many on both sides: p is 1.

    Args:
        only_first: faces that the first alone reads right.
        only_second: faces that the second alone reads right.

    Source:
        McNemar (Psychometrika 1947); for classifiers Dietterich (Neural Comput. 1998), who takes chi square.
    """
    if min(only_first, only_second) < 0:
        raise InputError(f"{only_first} and {only_second} faces: expected counts from 0 up.")
    if abs(only_first - only_second) < 2:
        return 1.0
    n, fewer = only_first + only_second, min(only_first, only_second)
    term = tail = 1.0  # the binomial terms from `fewer` down, as multiples of the largest
    for k in range(fewer, 0, -1):
        term *= k / (n - k + 1)
        tail += term
    largest = lgamma(n + 1) - lgamma(fewer + 1) - lgamma(n - fewer + 1) - n * log(2)
    return min(1.0, 2 * exp(largest + log(tail)))


def difference_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """95 % interval of the first accuracy minus the second on the same n faces; (nan, nan) when n is 0.

    Source:
        Bonett and Price (J. Educ. Behav. Stat. 2012): Wald's interval with one face added to either count.
    """
    if min(only_first, only_second) < 0 or only_first + only_second > n:
        raise InputError(
            f"{only_first} and {only_second} of {n} faces: expected counts from 0 up, at most all."
        )
    if n == 0:
        return float("nan"), float("nan")
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = _Z95 * sqrt((first + second - (first - second) ** 2) / (n + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)


def precision_recall_f1(labels: np.ndarray, predictions: np.ndarray, classes: int) -> ClassScores:
    """Precision, recall, F1 and support of every class; see `ClassScores` for what nan means."""
    confusion = confusion_matrix(labels, predictions, classes)
    right = np.diagonal(confusion)
    predicted, support = confusion[:, :classes].sum(axis=0), confusion.sum(axis=1)
    return ClassScores(
        precision=_ratio(right, predicted),
        recall=_ratio(right, support),
        f1=_ratio(2 * right, predicted + support),
        support=support,
    )


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray, classes: int) -> float:
    """Mean recall over the classes that have labels, 0..1; nan when there are none."""
    return _mean_defined(precision_recall_f1(labels, predictions, classes).recall)


def macro_f1(labels: np.ndarray, predictions: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes present in the labels or the predictions, 0..1; nan when there are none.

    These are the classes of scikit-learn's `f1_score(average="macro")`, except that "no answer" is none.
    """
    return _mean_defined(precision_recall_f1(labels, predictions, classes).f1)


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> ReliabilityBins:
    """Confidence and accuracy of the most probable class, in `bins` equal parts of 0..1."""
    confidence, is_right = _top(probabilities, labels)
    if bins < 1:
        raise InputError(f"bins: {bins}, expected at least 1.")
    edges = np.linspace(0.0, 1.0, bins + 1)
    where = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    return ReliabilityBins(
        edges=edges,
        count=count,
        confidence=_ratio(np.bincount(where, weights=confidence, minlength=bins), count),
        accuracy=_ratio(np.bincount(where, weights=is_right, minlength=bins), count),
    )


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean distance of top-label confidence and accuracy over equal-width bins, weighted by count.

    It is nan for no rows.

    Source:
        Guo et al. (ICML 2017), eq. 3. It is biased upwards on small sets: compare only like with like.
    """
    found = reliability_bins(probabilities, labels, bins)
    if not found.count.any():
        return float("nan")
    gaps = np.nan_to_num(np.abs(found.confidence - found.accuracy))
    return float(np.average(gaps, weights=found.count))


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Squared distance to the one-hot label: sum over classes, mean over rows; 0 (best) .. 2.

    It is nan for no rows.

    Source:
        Brier (1950), the original multi-class form. For two classes it is twice the usual binary score.
    """
    probabilities, labels = _judged(probabilities, labels)
    if not labels.size:
        return float("nan")
    wanted = np.eye(probabilities.shape[1])[labels]
    return float(np.mean(np.sum((probabilities - wanted) ** 2, axis=1)))


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label) in nats; nan for no rows. A probability of 0 counts as 2.2e-308."""
    probabilities, labels = _judged(probabilities, labels)
    if not labels.size:
        return float("nan")
    chosen = probabilities[np.arange(labels.size), labels]
    return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float64).tiny))))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, C), float64, of logits divided by a temperature; a row of nan stays one.

    Raises:
        InputError: for infinite logits, a row that is nan only in part, or a temperature that is not above 0.
    """
    logits = _matrix(logits, "logits")
    _missed_rows(logits)
    return np.exp(_log_softmax(logits, temperature))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, within 0.05..20, that makes held-out labels likeliest; 1 when none is better.

    The likelihood has one peak in the temperature, so a golden-section search over log T finds it, to 1e-6.

    Source:
        Guo et al. (ICML 2017), section 4.2.

    Raises:
        InputError: when there are no rows, or a row is not finite.
    """
    logits, labels = _matrix(logits, "logits"), _class_ids(labels, "labels")
    _check_rows(logits, labels)
    if not labels.size:
        raise InputError("no logits: a temperature is fitted on labeled validation data.")
    if not np.isfinite(logits).all():
        raise InputError("logits: not finite. Leave out the faces that were not found.")
    rows = np.arange(labels.size)

    def loss(log_temperature: float) -> float:
        return float(-np.mean(_log_softmax(logits, exp(log_temperature))[rows, labels]))

    best = _golden_section(loss, log(_TEMPERATURES[0]), log(_TEMPERATURES[1]))
    return exp(best) if loss(best) < loss(0.0) else 1.0


def risk_coverage(probabilities: np.ndarray, labels: np.ndarray) -> RiskCoverage:
    """Share of wrong answers against share of answers, for every threshold; no rows, no points."""
    confidence, is_right = _top(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    confidence, wrong = confidence[order], np.cumsum(~is_right[order])
    answered = np.arange(1, confidence.size + 1)
    is_last = np.append(confidence[1:] < confidence[:-1], True)[: confidence.size]
    return RiskCoverage(
        coverage=answered[is_last] / max(confidence.size, 1),
        risk=wrong[is_last] / answered[is_last],
        threshold=confidence[is_last],
    )


def area_under_risk(curve: RiskCoverage) -> float:
    """Mean risk over all shares of answers: small when the wrong answers are the least sure ones; nan for no points.

    Source:
        Geifman, Uziel, El-Yaniv (ICLR 2019), who call it AURC; rows of one confidence count together here.
    """
    steps = np.diff(curve.coverage, prepend=0.0)
    return float(np.sum(curve.risk * steps)) if steps.size else float("nan")


def _golden_section(
    loss: Callable[[float], float], low: float, high: float, tolerance: float = 1e-6
) -> float:
    """Where a function with one valley is lowest between `low` and `high`."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > tolerance:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = loss(right)
    return (low + high) / 2


def _log_softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    if not 0 < temperature < inf:
        raise InputError(f"temperature: {temperature}, expected a number above 0.")
    with np.errstate(over="ignore", under="ignore"):
        shifted = (logits - logits.max(axis=1, keepdims=True)) / temperature
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _top(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence of the most probable class, and whether it is the label: each (N,)."""
    probabilities, labels = _judged(probabilities, labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _judged(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked probabilities (N, C) float64 and labels (N,) int64."""
    probabilities, labels = _matrix(probabilities, "probabilities"), _class_ids(labels, "labels")
    _check_rows(probabilities, labels)
    if not np.isfinite(probabilities).all():
        raise InputError("probabilities: not finite. Leave out the faces that were not found.")
    if (probabilities < 0).any() or (np.abs(probabilities.sum(axis=1) - 1) > 1e-3).any():
        raise InputError(
            "probabilities: a row does not sum to 1, or is negative. Give logits to softmax first."
        )
    return probabilities, labels


def _matrix(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"{name}: shape {values.shape}, expected (N, C) with at least one class.")
    return values


def _missed_rows(logits: np.ndarray) -> np.ndarray:
    """(N,) bool: rows without an answer, all nan."""
    missing = np.isnan(logits)
    missed = np.asarray(missing.all(axis=1))
    if np.isinf(logits).any() or missing.any(axis=1).sum() != missed.sum():
        raise InputError(
            "logits: infinite, or nan in part of a row. Only a whole row of nan means 'no face found'."
        )
    return missed


def _class_ids(values: np.ndarray, name: str, lowest: int = 0) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise InputError(f"{name}: shape {values.shape} of {values.dtype}, expected (N,) class numbers.")
    if values.size and values.min() < lowest:
        raise InputError(f"{name}: {values.min()}, expected class numbers from {lowest} up.")
    return values.astype(np.int64)


def _pair(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = _class_ids(labels, "labels"), _class_ids(predictions, "predictions", NO_ANSWER)
    if labels.size != predictions.size:
        raise InputError(f"{labels.size} labels, but {predictions.size} predictions.")
    return labels, predictions


def _check_rows(matrix: np.ndarray, labels: np.ndarray) -> None:
    if len(matrix) != labels.size:
        raise InputError(f"{labels.size} labels, but {len(matrix)} rows.")
    if labels.size and labels.max() >= matrix.shape[1]:
        raise InputError(f"labels: {labels.max()} is not a class number below {matrix.shape[1]}.")


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean_defined(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
