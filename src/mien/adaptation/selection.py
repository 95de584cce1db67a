"""Choice of a correction by cross-validation over groups of faces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien import metrics
from mien.adaptation.correction import Correction, FaceFeatures, Setting, fit_correction
from mien.errors import DatasetError
from mien.evaluation.summary import accuracy_scores, json_ready
from mien.progress import Progress

FOLDS = 5
SETTINGS = tuple(
    Setting(penalty=penalty, balance=balance) for penalty in (math.inf, 3e-3, 1e-3, 3e-4) for balance in (0.0, 0.5)
)
"""Corrections that are compared, the weakest first."""
BOOTSTRAPS = 200
MIN_FACES = 20
"""Minimum number of labeled faces."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The result of a cross-validation.

    Attributes:
        correction: fitted to all faces; None if no correction is better than the model by more than one standard error.
        setting: the best setting.
        logits: (N, C) cross-validated corrected logits; those of the model if there is no correction.
        gain: difference of the scores, cross-validated minus model.
        standard_error: of the gain, by resampling the groups.
    """

    correction: Correction | None
    setting: Setting
    logits: np.ndarray
    gain: float
    standard_error: float


def choose_correction(faces: FaceFeatures, *, seed: int = 0, progress: Progress | None = None) -> Choice:
    """Return the correction with the best cross-validated score, if it is clearly better than none.

    The score is the mean of accuracy and mean recall; neither may be lower than the model's own. Faces of one group are
    in one fold.

    Args:
        faces: labeled faces.
        seed: of the assignment of groups to folds.
        progress: called after each setting.

    Raises:
        DatasetError: if there are too few faces, groups or classes.
        MissingExtraError: if SciPy is not installed.
    """
    folds = assign_folds(faces.groups, seed)
    if len(faces) < MIN_FACES or len(np.unique(faces.labels)) < 2 or len(np.unique(folds)) < FOLDS:
        raise DatasetError(
            f"{len(faces)} labeled faces of {len(np.unique(faces.groups))} groups and {len(np.unique(faces.labels))} "
            f"classes are too few to adapt to; expected at least {MIN_FACES} faces, {FOLDS} groups and 2 classes."
        )
    candidates: list[tuple[bool, float, int]] = []
    corrected: dict[int, np.ndarray] = {}
    for number, setting in enumerate(SETTINGS, start=1):
        logits = cross_validate(faces, folds, setting)
        gains = np.subtract(scores(logits, faces.labels), scores(faces.logits, faces.labels))
        candidates.append((bool((gains >= 0).all()), float(gains.mean()), number))
        corrected[number] = logits
        if progress:
            progress(number, len(SETTINGS))
    # the first of equals is the weakest
    is_improved, gain, number = max(candidates, key=lambda candidate: candidate[:2])
    error = gain_error(faces, corrected[number], seed)
    correction = fit_correction(faces, SETTINGS[number - 1]) if is_improved and gain > error else None
    return Choice(
        correction=correction,
        setting=SETTINGS[number - 1],
        logits=corrected[number] if correction else faces.logits,
        gain=gain,
        standard_error=error,
    )


def cross_validate(faces: FaceFeatures, folds: np.ndarray, setting: Setting) -> np.ndarray:
    """Return the logits (N, C) of every face, corrected by a fit to the faces of the other folds (N,)."""
    logits = np.empty(faces.logits.shape)
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        correction = fit_correction(faces.select(np.flatnonzero(folds != fold)), setting)
        logits[rows] = correction.apply(faces.select(rows))
    return logits


def assign_folds(groups: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold (N,) of every face; groups are shuffled, and each joins the smallest fold so far."""
    names, counts = np.unique(groups, return_counts=True)
    sizes = np.zeros(FOLDS, dtype=int)
    fold_of = {}
    for position in np.random.default_rng(seed).permutation(len(names)):
        fold = int(sizes.argmin())
        fold_of[names[position]] = fold
        sizes[fold] += counts[position]
    return np.array([fold_of[group] for group in groups])


def scores(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return accuracy and mean recall."""
    predictions = metrics.choose_labels(logits)
    return metrics.accuracy(labels, predictions), metrics.balanced_accuracy(labels, predictions, logits.shape[1])


def gain_error(faces: FaceFeatures, logits: np.ndarray, seed: int) -> float:
    """Return the standard error of the score's gain over the model's own logits, by resampling whole groups."""
    rows_of = [np.flatnonzero(faces.groups == group) for group in np.unique(faces.groups)]
    chance = np.random.default_rng(seed)
    gains = []
    for _ in range(BOOTSTRAPS):
        rows = np.concatenate([rows_of[index] for index in chance.integers(len(rows_of), size=len(rows_of))])
        labels = faces.labels[rows]
        gains.append(np.mean(np.subtract(scores(logits[rows], labels), scores(faces.logits[rows], labels))))
    return float(np.std(gains))


def summarize(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return number of faces, accuracy with interval, balanced accuracy and calibration error."""
    predictions = metrics.choose_labels(logits)
    classes = logits.shape[1]
    probabilities = metrics.softmax(logits)
    measured = accuracy_scores(labels, predictions, classes)
    del measured["correct"]
    return json_ready(
        {
            "n": len(labels),
            **measured,
            "macro_f1": metrics.macro_f1(labels, predictions, classes),
            "ece": metrics.expected_calibration_error(probabilities, labels),
            "brier": metrics.brier_score(probabilities, labels),
        }
    )
