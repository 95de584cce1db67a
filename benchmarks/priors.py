"""Class priors of the shipped models, and what correcting for other class frequencies gains.

python benchmarks/priors.py ferplus.zip [--photographs wild_valid.zip] [--write]

Validation faces are resampled to other class frequencies: uniform, and draws from a Dirichlet distribution. For each,
the accuracy and calibration of the model, of the model corrected with the known frequencies, and with frequencies
estimated from the unlabeled faces; class shares are measured on one half of the faces and used on the other, as the
shares of the labels (as in manifests) and as the mean probabilities. `--write` only adds `class_prior`, the
shares of the labels, to the manifests of the shipped models and of their int8 files.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien import metrics
from mien.class_prior import estimate_prior, label_shares
from mien.datasets import read_dataset
from mien.evaluation.labels import official_labels
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import read_manifest, write_manifest
from mien.runtime import INT8_SUFFIX, find_model, shipped_models

DRAWS = 40
CONCENTRATION = 1.0
"""Number of draws of class frequencies, and parameter of their Dirichlet distribution."""
FACES = 500
"""Faces in a draw."""


def correct(logits: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return probabilities (N, C) of calibrated logits for other class shares."""
    return metrics.softmax(logits + np.log(np.maximum(target, 1e-12)) - np.log(np.maximum(source, 1e-12)))


def score(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """Return accuracy, negative log likelihood and calibration error."""
    return [
        metrics.accuracy(labels, probabilities.argmax(axis=1)),
        metrics.negative_log_likelihood(probabilities, labels),
        metrics.expected_calibration_error(probabilities, labels),
    ]


def simulate(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean scores over draws of class frequencies, by kind of correction.

    Args:
        logits: (N, C), divided by the temperature.
        labels: (N,) class numbers.
    """
    rng = np.random.default_rng(0)
    classes = logits.shape[1]
    is_measured = rng.permutation(len(labels)) % 2 == 0
    sources = {
        "shares of labels": label_shares(labels[is_measured], classes),
        "mean probabilities": metrics.softmax(logits[is_measured]).mean(axis=0),
    }
    pools = [np.flatnonzero(~is_measured & (labels == number)) for number in range(classes)]
    results: dict[str, list[list[float]]] = {}
    for draw in range(DRAWS):
        target = np.full(classes, 1 / classes) if draw == 0 else rng.dirichlet(np.full(classes, CONCENTRATION))
        rows = np.concatenate(
            [rng.choice(pool, count) for pool, count in zip(pools, rng.multinomial(FACES, target), strict=True)]
        )
        x, y = logits[rows], labels[rows]
        results.setdefault("uncorrected", []).append([*score(metrics.softmax(x), y), np.nan])
        for name, source in sources.items():
            results.setdefault(f"known, {name}", []).append([*score(correct(x, source, target), y), np.nan])
            estimated = estimate_prior(metrics.softmax(x), source)
            error = float(np.abs(estimated - target).sum() / 2)
            results.setdefault(f"estimated, {name}", []).append([*score(correct(x, source, estimated), y), error])
    return {name: np.mean(rows, axis=0) for name, rows in results.items()}


def report(name: str, results: dict[str, np.ndarray]) -> None:
    for kind, (accuracy, loss, ece, error) in results.items():
        distance = "" if np.isnan(error) else f"  {error:.3f}"
        print(f"{name:18s}{kind:32s}{accuracy:8.1%}  NLL {loss:.3f}  ECE {ece:.3f}{distance}")


def photographs(path: Path, name: str, source: np.ndarray) -> None:
    """Print the scores on labeled photographs, gray and color apart."""
    from photographs import read_crops

    crops, names, is_color = read_crops(path)
    classifier = ExpressionClassifier(name, precision="float32")
    labels = np.array([classifier.manifest.labels.index(label) for label in names])
    is_found = crops.any(axis=(1, 2, 3))
    for part, mask in (("gray", ~is_color), ("color", is_color)):
        rows = np.flatnonzero(mask & is_found)
        x, y = classifier.logits(crops[rows]) / classifier.manifest.temperature, labels[rows]
        known = np.bincount(y, minlength=len(source)) / len(y)
        estimated = estimate_prior(metrics.softmax(x), source)
        error = float(np.abs(estimated - known).sum() / 2)
        report(
            f"{name} {part}",
            {
                "uncorrected": np.array([*score(metrics.softmax(x), y), np.nan]),
                "known": np.array([*score(correct(x, source, known), y), np.nan]),
                "estimated": np.array([*score(correct(x, source, estimated), y), error]),
            },
        )


def write(name: str, shares: np.ndarray) -> None:
    """Add the class shares to the manifest of a shipped model and of its int8 file."""
    path = find_model(name)
    for file in (path, path.with_name(path.stem + INT8_SUFFIX)):
        if file.exists():
            manifest = read_manifest(file)
            prior = dict(zip(manifest.labels, shares.round(6).tolist(), strict=True))
            write_manifest(replace(manifest, class_prior=prior), file)
            print(f"{file.name}: {prior}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    index = read_dataset("ferplus", options.data).select("valid")
    print("last column: half of the sum of absolute errors of the estimated shares")
    for name in shipped_models():
        classifier = ExpressionClassifier(name, threads=1, precision="float32")
        labels = official_labels(classifier.manifest, index)
        rows = labels >= 0
        shares = label_shares(labels[rows], len(classifier.manifest.labels))
        if options.write:
            write(name, shares)
            continue
        logits = predict_dataset(classifier, index).logits[rows] / classifier.manifest.temperature
        report(name, simulate(logits, labels[rows]))
        if options.photographs:
            photographs(options.photographs, name, shares)


if __name__ == "__main__":
    main()
