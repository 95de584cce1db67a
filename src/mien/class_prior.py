"""Class priors: predictions for a setting with other class frequencies than the calibration faces of a model.

Source:
    Saerens, Latinne, Decaestecker (Neural Computation 2002), eq. 2.4 (known frequencies) and 2.9 (unlabeled images).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mien.errors import InputError, ModelError, reason
from mien.manifest import Manifest

UNIFORM: Literal["uniform"] = "uniform"
"""Prior of a setting in which all classes are equally frequent."""

Prior = Mapping[str, float] | str | Path
"""Frequency of each class (shares or counts), `UNIFORM`, or a .json or .csv file of frequencies."""

COLUMNS = ("label", "frequency")
"""Columns of a .csv file."""
EXCLUDED = -700.0
"""Log ratio of a class whose frequency is 0: finite, and below every log probability."""
SOURCE_FACES = 4.0
"""Number of faces, with the frequencies of the calibration, that an estimate adds to those of the user."""
TOLERANCE = 1e-7
MAX_ITERATIONS = 10_000
"""Largest change of a share at which the estimation ends, and maximum number of its steps."""


def read_prior(prior: Prior) -> dict[str, float] | Literal["uniform"]:
    """Return the share of each class, or `UNIFORM`.

    Args:
        prior: see `Prior`. A .json file holds one object, class to frequency; a .csv file has the `COLUMNS`.

    Raises:
        InputError: if the prior has another type, the file cannot be read, or a label occurs twice, or a frequency is
            negative, not a number, or all are 0.
    """
    if not isinstance(prior, Mapping | str | PathLike):
        raise InputError(f"prior is {prior!r}; expected frequencies by class, 'uniform', or a .json or .csv file.")
    if prior == UNIFORM:
        return UNIFORM
    place = "prior" if isinstance(prior, Mapping) else str(prior)
    frequencies = prior if isinstance(prior, Mapping) else _read_file(Path(prior))
    values: dict[str, float] = {}
    for name, value in frequencies.items():
        try:
            values[str(name)] = float(value)
        except (TypeError, ValueError, OverflowError):
            values[str(name)] = math.nan
        if not 0 <= values[str(name)] < math.inf:
            raise InputError(f"{place}: the frequency of {name} is {value!r}; expected a number of 0 or more.")
    largest = max(values.values(), default=0.0)
    if largest <= 0:
        raise InputError(f"{place}: expected at least one class with a frequency above 0.")
    # the sum of the values themselves may be infinite
    scaled = {name: value / largest for name, value in values.items()}
    total = sum(scaled.values())
    return {name: value / total for name, value in scaled.items()}


def log_ratios(manifest: Manifest, prior: Prior) -> np.ndarray:
    """Return what a prior adds to the log probabilities of a model: (C,) log of its share over that in calibration.

    Args:
        manifest: of the model.
        prior: frequencies in the user's setting.

    Raises:
        InputError: if the prior lacks a class, has one that the model lacks, or gives a frequency to a class that no
            calibration face showed.
        ModelError: if the manifest has no class prior.
    """
    source = source_shares(manifest)
    shares = read_prior(prior)
    labels = manifest.labels
    if shares == UNIFORM:
        target = np.full(len(labels), 1 / len(labels))
    else:
        _check_labels(set(shares), labels, manifest.name)
        target = np.array([shares[label] for label in labels])
    for label, before, after in zip(labels, source, target, strict=True):
        if before == 0 < after:
            raise InputError(
                f"no calibration face of {manifest.name} shows {label}, so its probability cannot be corrected; "
                "give a prior in which its frequency is 0."
            )
    is_possible = target > 0
    ratios = np.divide(target, source, out=np.ones(len(labels)), where=is_possible)
    return np.where(is_possible, np.log(ratios), EXCLUDED)


def source_shares(manifest: Manifest) -> np.ndarray:
    """Return the shares (C,) of the classes for which the model's probabilities hold.

    Raises:
        ModelError: if the manifest has no class prior.
    """
    if not manifest.class_prior:
        raise ModelError(
            f"{manifest.name} has no class_prior in its manifest, so its probabilities cannot be corrected for other "
            "class frequencies. Export or adapt the model again with this version of mien."
        )
    return np.array([manifest.class_prior[label] for label in manifest.labels])


def label_shares(labels: np.ndarray, classes: int, balance: float = 0.0) -> np.ndarray:
    """Return the shares (C,) of the classes among calibration faces; 0 for a class without a face.

    Probabilities hold for these shares if the network was trained with the same `balance`, which a temperature cannot
    undo.

    Args:
        labels: (N,) class numbers, N > 0.
        classes: number of classes C.
        balance: the faces have weights of their class's frequency to the power of minus this.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, counts ** (1 - balance), 0.0)
    return weights / weights.sum()


def estimate_prior(probabilities: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Estimate the shares of the classes among unlabeled faces by expectation-maximization.

    The estimate is the maximum a posteriori: `SOURCE_FACES` faces with the frequencies of the calibration count as
    observed, so that few faces change little and no class of the calibration is excluded.

    It assumes that faces of a class look like those in calibration and only their number differs; on other images
    errors of the model become part of the estimate.

    Source:
        Saerens et al. (2002), eq. 2.9, with a Dirichlet prior; theirs is the maximum of the likelihood, which can be 0.

    Args:
        probabilities: (N, C) calibrated probabilities; rows sum to 1. A face with a probability of 0 for every class
            with a share is left out.
        source: (C,) shares of the classes for which they hold. A class with a share of 0 keeps it.

    Returns:
        (C,) shares, which sum to 1.

    Raises:
        InputError: if there is no face.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not len(probabilities):
        raise InputError("no face: expected faces to estimate class frequencies from.")
    is_used = source > 0
    likelihoods = np.where(is_used, probabilities / np.where(is_used, source, 1.0), 0.0)
    likelihoods = likelihoods[likelihoods.any(axis=1)]
    shares = np.where(is_used, source, 0.0)
    prior = SOURCE_FACES * shares
    for _ in range(MAX_ITERATIONS):
        joint = likelihoods * shares
        counts = (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0)
        updated = (counts + prior) / (counts + prior).sum()
        change = float(np.abs(updated - shares).max())
        shares = updated
        if change < TOLERANCE:
            break
    return shares


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {reason(error)}; expected uniform or a file.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; expected a .json or .csv file of class frequencies.") from None
    if path.suffix.lower() == ".csv":
        return _parse_csv(text, path)
    try:
        frequencies = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, path))
    except InputError:
        raise
    except (ValueError, RecursionError):
        frequencies = None
    if not isinstance(frequencies, dict):
        raise InputError(f'{path}: expected a JSON object such as {{"neutral": 0.6, "happiness": 0.4, ...}}.')
    return frequencies


def _parse_csv(text: str, path: Path) -> Mapping[str, str]:
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise InputError(f"{path} is not CSV ({error}); expected the columns {' and '.join(COLUMNS)}.") from None
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise InputError(f"{path}: expected the columns {' and '.join(COLUMNS)}.")
    label, frequency = COLUMNS
    return _unique([(row[label], row[frequency]) for row in rows], path)


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Return pairs of a file as a dictionary; raise `InputError` if a label occurs twice."""
    frequencies = dict(pairs)
    if len(frequencies) < len(pairs):
        raise InputError(f"{path}: a label occurs twice.")
    return frequencies


def _check_labels(names: set[str], labels: tuple[str, ...], model: str) -> None:
    if unknown := sorted(names - set(labels)):
        raise InputError(f"prior: {model} has no class {', '.join(unknown)}; it has {', '.join(labels)}.")
    if missing := [label for label in labels if label not in names]:
        raise InputError(f"prior: no frequency of {', '.join(missing)}; 0 excludes a class.")
