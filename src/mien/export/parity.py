"""Comparison of a quantized model with the model that it was made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mien import metrics
from mien.datasets.index import Index
from mien.errors import DatasetError, ParityError
from mien.evaluation.labels import official_labels, select_labeled
from mien.evaluation.predictions import predict_dataset
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import read_manifest, write_manifest
from mien.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Accuracy of two models on the same labeled faces, by the official protocol of the data set.

    Attributes:
        dataset: data set and split.
        n: number of faces.
        accuracy: shares of correct labels of the original and of the quantized model.
        ece: expected calibration errors, each with the temperature that fits these faces best.
        agreement: share of faces with the same label from both.
    """

    dataset: str
    n: int
    accuracy: tuple[float, float]
    ece: tuple[float, float]
    agreement: float

    def describe(self) -> str:
        """Return the comparison in one line."""
        before, after = self.accuracy
        return (
            f"accuracy {before:.2%} -> {after:.2%}, ECE {self.ece[0]:.4f} -> {self.ece[1]:.4f}, "
            f"same label {self.agreement:.2%} of {self.n} faces of {self.dataset}"
        )


def measure_parity(original: Path, quantized: Path, index: Index, *, progress: Progress | None = None) -> Parity:
    """Compare two models on the labeled faces of a split.

    Raises:
        DatasetError: if no labeled face can be read.
    """
    index = select_labeled(index)
    classifiers = [ExpressionClassifier(path, threads=1, device="cpu") for path in (original, quantized)]
    logits = [predict_dataset(classifier, index, progress=progress).logits for classifier in classifiers]
    labels = official_labels(classifiers[0].manifest, index)
    counted = (labels >= 0) & np.isfinite(logits[0]).all(axis=1)
    if not counted.any():
        raise DatasetError(f"{index.root}: no labeled face can be read; check the images with `mien data check`.")
    return compare_logits(logits[0][counted], logits[1][counted], labels[counted], f"{index.name}/{index.split}")


def compare_logits(original: np.ndarray, quantized: np.ndarray, labels: np.ndarray, dataset: str) -> Parity:
    """Compare the logits (N, C) of two models for the same faces with labels (N,)."""
    chosen = [metrics.choose_labels(logits) for logits in (original, quantized)]
    ece = [
        metrics.expected_calibration_error(metrics.softmax(logits, metrics.fit_temperature(logits, labels)), labels)
        for logits in (original, quantized)
    ]
    accuracy = [metrics.accuracy(labels, predictions) for predictions in chosen]
    return Parity(
        dataset=dataset,
        n=len(labels),
        accuracy=(round(accuracy[0], 6), round(accuracy[1], 6)),
        ece=(round(ece[0], 6), round(ece[1], 6)),
        agreement=round(float((chosen[0] == chosen[1]).mean()), 6),
    )


def check_loss(parity: Parity, model: Path, max_loss: float) -> None:
    """Add a comparison to the manifest of the quantized model.

    Args:
        parity: the comparison.
        model: the quantized model.
        max_loss: maximum decrease of the accuracy.

    Raises:
        ParityError: if the accuracy decreases by more.
    """
    before, after = parity.accuracy
    if before - after > max_loss:
        raise ParityError(
            f"int8 lowers the accuracy from {before:.2%} to {after:.2%}, allowed are {max_loss:.2%}: keep float32, use "
            "more --calibration-faces, or raise --max-loss."
        )
    manifest = read_manifest(model)
    write_manifest(replace(manifest, source={**manifest.source, "parity": asdict(parity)}), model)
