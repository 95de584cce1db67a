"""What a model file promises of its confidence: fitted on validation faces, written into the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.check import Progress
from mien.datasets.index import Index
from mien.errors import InputError
from mien.evaluation.evaluate import judge, official_labels, read_faces
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, write_manifest

KEPT = (
    "n",
    "accuracy",
    "accuracy_interval",
    "balanced_accuracy",
    "macro_f1",
    "ece",
    "ece_uncalibrated",
    "brier",
)
"""The numbers of `mien evaluate --json` that a manifest keeps, for every protocol."""


def calibrate(
    model: Path, index: Index, *, abstain: float = 0.02, progress: Progress | None = None
) -> Manifest:
    """Fit the temperature and the abstention threshold of a model file, measure it, and rewrite its manifest.

    Args:
        model: an .onnx with its manifest.
        index: the validation split of a data set.
        abstain: share of validation faces, the least sure ones, that get no label.
        progress: told how many images are done.
    """
    if not 0 <= abstain < 1:
        raise InputError(f"abstain is {abstain}; expected a share from 0 to below 1.")
    classifier = ExpressionClassifier(model)
    readings = read_faces(classifier, index, progress=progress)
    labels = official_labels(classifier.manifest, index)
    counted = (labels >= 0) & np.isfinite(readings.logits).all(axis=1)
    temperature = round(metrics.fit_temperature(readings.logits[counted], labels[counted]), 4)
    confidence = metrics.softmax(readings.logits[counted], temperature).max(axis=1)
    threshold = round(float(np.quantile(confidence, abstain)), 3)
    fitted = replace(classifier.manifest, temperature=temperature, abstain_below=threshold)
    summary = judge(fitted, readings).summary
    measured = replace(fitted, metrics={**fitted.metrics, f"{index.name}/valid": _kept(summary)})
    write_manifest(measured, model)
    return measured


def _kept(summary: dict[str, Any]) -> dict[str, Any]:
    protocols = summary.get("protocols") or {"labels": summary}
    return {name: {key: part[key] for key in KEPT} for name, part in protocols.items()}
