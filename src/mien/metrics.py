"""Classification and calibration metrics: pure functions over arrays, numpy only.

`labels` and `predictions` are (N,) class IDs. A prediction of `NO_PREDICTION` (-1) means that the model made none,
for example because no face was detected: it counts as wrong, so it lowers accuracy and the recall of
its class, and has its own column in the confusion matrix. `probabilities` are (N, C) with rows that sum to 1; their
metrics need a prediction in every row.

Empty input: a score is nan, a count is zero, and a curve has no points. Only `fit_temperature` raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, lgamma, log, sqrt

import numpy as np

from mien.errors import InputError

NO_PREDICTION = -1
"""Class ID of a missing prediction."""

TEMPERATURE_RANGE = (0.05, 20.0)
"""Range of `fit_temperature`."""

_Z95 = 1.959963984540054
_GOLDEN_RATIO = (sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Precision, recall, F1 and number of labels of every class, each (C,).

    A ratio without a denominator is nan: the precision of a class that is never predicted, the recall of a class
    without labels, the F1 of a class with neither.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ReliabilityBins:
    """Top-label confidence and accuracy in equal-width bins.

    `edges` is (B + 1,); `count`, `confidence` and `accuracy` are (B,), the last two nan in an empty bin. A
    bin includes its upper edge and excludes its lower edge.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """Risk-coverage curve: one point per distinct confidence, most confident first, each (P,).

    With predictions only where the confidence is at least `threshold`, the share `coverage` of the rows has a
    prediction, and the share `risk` of these predictions is wrong.
    """

    coverage: np.ndarray
    risk: np.ndarray
    threshold: np.ndarray


def choose_labels(logits: np.ndarray) -> np.ndarray:
    """Return the argmax of each row of logits or probabilities (N, C); `NO_PREDICTION` where a row is all nan.

    Raises:
        InputError: for infinite values or a row that is partly nan.
    """
    logits = _check_matrix(logits, "logits")
    missing = _missing_rows(logits)
    return np.where(missing, NO_PREDICTION, np.argmax(np.where(missing[:, None], 0.0, logits), axis=1))


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (C, C + 1): rows are labels, columns predictions, the last column missing predictions.

    Example:
        >>> confusion_matrix([0, 1, 1], [0, 0, -1], classes=2)
        array([[1, 0, 0],
               [1, 0, 1]])
    """
    labels, predictions = _check_pair(labels, predictions)
    if labels.size and labels.max() >= classes:
        raise InputError(f"labels: {labels.max()} is not a class ID below {classes}.")
    if predictions.size and predictions.max() >= classes:
        raise InputError(f"predictions: {predictions.max()} is not a class ID below {classes}.")
    columns = np.where(predictions == NO_PREDICTION, classes, predictions)
    cells = np.bincount(labels * (classes + 1) + columns, minlength=classes * (classes + 1))
    return cells.reshape(classes, classes + 1)


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the share of correct predictions, 0..1; nan for empty input."""
    labels, predictions = _check_pair(labels, predictions)
    return float(np.mean(labels == predictions)) if labels.size else float("nan")


def accuracy_interval(correct: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, without continuity correction; (nan, nan) when n is 0.

    Source:
        Wilson (JASA 1927). Unlike the normal interval it stays within 0..1 and has a width at 0 % and 100 %.
    """
    if not 0 <= correct <= n:
        raise InputError(f"{correct} correct of {n}: expected 0 <= correct <= n.")
    if n == 0:
        return float("nan"), float("nan")
    share, weight = correct / n, _Z95 * _Z95 / n
    middle = (share + weight / 2) / (1 + weight)
    half = _Z95 * sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return (0.0 if correct == 0 else max(0.0, middle - half), 1.0 if correct == n else min(1.0, middle + half))


def mcnemar_test(only_first: int, only_second: int) -> float:
    """Return the p value of McNemar's exact test, two-sided: are two classifiers equally accurate on the same faces?

    Only faces that exactly one of the two classifies correctly count; with none of them, or equal counts, p is 1.

    Args:
        only_first: number of faces that only the first classifies correctly.
        only_second: number of faces that only the second classifies correctly.

    Source:
        McNemar (Psychometrika 1947); for classifiers Dietterich (Neural Comput. 1998), who uses chi-square.
    """
    if min(only_first, only_second) < 0:
        raise InputError(f"{only_first} and {only_second} faces: expected counts of at least 0.")
    if abs(only_first - only_second) < 2:
        return 1.0
    n, fewer = only_first + only_second, min(only_first, only_second)
    # Binomial terms from `fewer` down, as multiples of the largest.
    term = tail = 1.0
    for k in range(fewer, 0, -1):
        term *= k / (n - k + 1)
        tail += term
    largest = lgamma(n + 1) - lgamma(fewer + 1) - lgamma(n - fewer + 1) - n * log(2)
    return min(1.0, 2 * exp(largest + log(tail)))


def difference_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the first accuracy minus the second on the same n faces; (nan, nan) for n = 0.

    Source:
        Bonett and Price (J. Educ. Behav. Stat. 2012): Wald's interval with one face added to each count.
    """
    if min(only_first, only_second) < 0 or only_first + only_second > n:
        raise InputError(
            f"{only_first} and {only_second} of {n} faces: expected counts of at least 0 and at most {n} in total."
        )
    if n == 0:
        return float("nan"), float("nan")
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = _Z95 * sqrt((first + second - (first - second) ** 2) / (n + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)


def precision_recall_f1(labels: np.ndarray, predictions: np.ndarray, classes: int) -> ClassScores:
    """Return precision, recall, F1 and support of every class; undefined ratios are nan."""
    confusion = confusion_matrix(labels, predictions, classes)
    correct = np.diagonal(confusion)
    predicted, support = confusion[:, :classes].sum(axis=0), confusion.sum(axis=1)
    return ClassScores(
        precision=_ratio(correct, predicted),
        recall=_ratio(correct, support),
        f1=_ratio(2 * correct, predicted + support),
        support=support,
    )


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray, classes: int) -> float:
    """Return the mean recall over the classes that have labels, 0..1; nan when there are none."""
    return _mean_defined(precision_recall_f1(labels, predictions, classes).recall)


def macro_f1(labels: np.ndarray, predictions: np.ndarray, classes: int) -> float:
    """Return the mean F1 over the classes that have labels, 0..1; nan when there are none.

    A class that is never predicted counts as 0. Equals scikit-learn's `f1_score(labels=np.unique(labels),
    average="macro", zero_division=0)`.
    """
    scores = precision_recall_f1(labels, predictions, classes)
    return _mean_defined(scores.f1[scores.support > 0])


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> ReliabilityBins:
    """Return confidence and accuracy of the most probable class in `bins` equal-width bins of 0..1."""
    confidence, is_correct = _top_label(probabilities, labels)
    if bins < 1:
        raise InputError(f"bins: {bins}, expected at least 1.")
    edges = np.linspace(0.0, 1.0, bins + 1)
    indices = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(indices, minlength=bins)
    return ReliabilityBins(
        edges=edges,
        count=count,
        confidence=_ratio(np.bincount(indices, weights=confidence, minlength=bins), count),
        accuracy=_ratio(np.bincount(indices, weights=is_correct, minlength=bins), count),
    )


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between top-label confidence and accuracy over equal-width bins, weighted by count.

    Source:
        Guo et al. (ICML 2017), eq. 3. Biased upwards on small sets: compare only sets of similar size.
    """
    reliability = reliability_bins(probabilities, labels, bins)
    if not reliability.count.any():
        return float("nan")
    gaps = np.nan_to_num(np.abs(reliability.confidence - reliability.accuracy))
    return float(np.average(gaps, weights=reliability.count))


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the squared distance to the one-hot label, summed over classes, averaged over rows; 0 (best) .. 2.

    Source:
        Brier (1950), the original multi-class form. For two classes it is twice the usual binary score.
    """
    probabilities, labels = _check_probabilities(probabilities, labels)
    if not labels.size:
        return float("nan")
    one_hot = np.eye(probabilities.shape[1])[labels]
    return float(np.mean(np.sum((probabilities - one_hot) ** 2, axis=1)))


def negative_log_likelihood(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of -log p(label) in nats; nan for empty input. A probability of 0 counts as 2.2e-308."""
    probabilities, labels = _check_probabilities(probabilities, labels)
    if not labels.size:
        return float("nan")
    likelihoods = probabilities[np.arange(labels.size), labels]
    return float(-np.mean(np.log(np.maximum(likelihoods, np.finfo(np.float64).tiny))))


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return probabilities (N, C) float64 of logits divided by a temperature; a row of nan stays nan.

    Raises:
        InputError: for infinite logits, a row that is partly nan, or a temperature that is not above 0.
    """
    logits = _check_matrix(logits, "logits")
    _missing_rows(logits)
    return np.exp(_log_softmax(logits, temperature))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature within 0.05..20 that maximizes the likelihood of held-out labels; 1 if none is better.

    The likelihood is unimodal in the temperature; a golden-section search over log T finds its maximum to 1e-6.

    Source:
        Guo et al. (ICML 2017), section 4.2.

    Raises:
        InputError: for empty input or a row that is not finite.
    """
    logits = _check_matrix(logits, "logits")
    labels = _check_rows(logits, labels)
    if not labels.size:
        raise InputError("no logits: expected labeled validation data to fit a temperature.")
    if not np.isfinite(logits).all():
        raise InputError("logits: not finite. Leave out faces that were not detected.")
    rows = np.arange(labels.size)

    def loss(log_temperature: float) -> float:
        return float(-np.mean(_log_softmax(logits, exp(log_temperature))[rows, labels]))

    best = _golden_section(loss, log(TEMPERATURE_RANGE[0]), log(TEMPERATURE_RANGE[1]))
    return exp(best) if loss(best) < loss(0.0) else 1.0


def risk_coverage(probabilities: np.ndarray, labels: np.ndarray) -> RiskCoverage:
    """Return the risk-coverage curve over all confidence thresholds."""
    confidence, is_correct = _top_label(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    wrong = np.cumsum(~is_correct[order])
    predicted = np.arange(1, confidence.size + 1)
    is_last = np.append(confidence[1:] < confidence[:-1], True)[: confidence.size]
    return RiskCoverage(
        coverage=predicted[is_last] / max(confidence.size, 1),
        risk=wrong[is_last] / predicted[is_last],
        threshold=confidence[is_last],
    )


def _golden_section(loss: Callable[[float], float], low: float, high: float, tolerance: float = 1e-6) -> float:
    """Return the minimum of a unimodal function between `low` and `high`."""
    left, right = high - _GOLDEN_RATIO * (high - low), low + _GOLDEN_RATIO * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > tolerance:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN_RATIO * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN_RATIO * (high - low)
            loss_right = loss(right)
    return (low + high) / 2


def _log_softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    if not 0 < temperature < inf:
        raise InputError(f"temperature: {temperature}, expected a number above 0.")
    with np.errstate(over="ignore", under="ignore"):
        shifted = (logits - logits.max(axis=1, keepdims=True)) / temperature
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _top_label(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of the most probable class and whether it is correct, each (N,)."""
    probabilities, labels = _check_probabilities(probabilities, labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return validated probabilities (N, C) float64 and labels (N,) int64."""
    probabilities = _check_matrix(probabilities, "probabilities")
    labels = _check_rows(probabilities, labels)
    if not np.isfinite(probabilities).all():
        raise InputError("probabilities: not finite. Leave out faces that were not detected.")
    if (probabilities < 0).any() or (np.abs(probabilities.sum(axis=1) - 1) > 1e-3).any():
        raise InputError("probabilities: a row is negative or does not sum to 1. Apply softmax to logits.")
    return probabilities, labels


def _check_matrix(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise InputError(f"{name}: shape {values.shape}, expected (N, C) with at least one class.")
    return values


def _missing_rows(logits: np.ndarray) -> np.ndarray:
    """Return which rows (N,) are all nan, that is, have no prediction."""
    is_nan = np.isnan(logits)
    missing = np.asarray(is_nan.all(axis=1))
    if np.isinf(logits).any() or is_nan.any(axis=1).sum() != missing.sum():
        raise InputError("logits: infinite, or nan in part of a row. Only a whole row of nan means 'no face detected'.")
    return missing


def _check_class_ids(values: np.ndarray, name: str, minimum: int = 0) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise InputError(f"{name}: shape {values.shape} of {values.dtype}, expected (N,) class IDs.")
    if values.size and values.min() < minimum:
        raise InputError(f"{name}: {values.min()}, expected class IDs of at least {minimum}.")
    return values.astype(np.int64)


def _check_pair(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = _check_class_ids(labels, "labels")
    predictions = _check_class_ids(predictions, "predictions", NO_PREDICTION)
    if labels.size != predictions.size:
        raise InputError(f"{labels.size} labels, but {predictions.size} predictions.")
    return labels, predictions


def _check_rows(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return validated labels (N,) int64 for the rows of a matrix (N, C)."""
    labels = _check_class_ids(labels, "labels")
    if len(matrix) != labels.size:
        raise InputError(f"{labels.size} labels, but {len(matrix)} rows.")
    if labels.size and labels.max() >= matrix.shape[1]:
        raise InputError(f"labels: {labels.max()} is not a class ID below {matrix.shape[1]}.")
    return labels


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0)


def _mean_defined(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
