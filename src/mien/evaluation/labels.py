"""Ground-truth labels of a data set in the classes of a model, by each evaluation protocol."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.datasets.ferplus import NO_LABEL, argmax_label, majority_label
from mien.datasets.index import Index
from mien.errors import DatasetError, InputError
from mien.manifest import Manifest

PROTOCOLS = {"majority": majority_label, "argmax": argmax_label}
"""Protocols of FER+, which derive a label from ten votes; the official one first."""


def labels_by_protocol(manifest: Manifest, index: Index) -> dict[str, np.ndarray]:
    """Return the labels of each protocol, (N,) int64 class ids of the model or `NO_LABEL`, the official one first.

    The protocols are those of FER+ for images with votes; otherwise "labels" is the only one.
    """
    class_ids = [manifest.labels.index(name) if name in manifest.labels else NO_LABEL for name in index.labels]

    def to_array(labels: list[int | None]) -> np.ndarray:
        return np.array([NO_LABEL if label is None else class_ids[label] for label in labels], dtype=np.int64)

    if all(sample.votes is None for sample in index.samples):
        return {"labels": to_array([sample.label for sample in index.samples])}
    return {
        name: to_array([sample.label if sample.votes is None else protocol(sample.votes) for sample in index.samples])
        for name, protocol in PROTOCOLS.items()
    }


def official_labels(manifest: Manifest, index: Index) -> np.ndarray:
    """Return the labels of the official protocol, (N,) int64 class ids of the model or `NO_LABEL`."""
    return next(iter(labels_by_protocol(manifest, index).values()))


def select_labeled(index: Index) -> Index:
    """Return the images with a label by at least one protocol.

    Raises:
        DatasetError: there are none.
    """
    samples = tuple(
        sample
        for sample in index.samples
        if sample.label is not None or (sample.votes is not None and argmax_label(sample.votes) is not None)
    )
    if not samples:
        raise DatasetError(f"{index.root}: no image with a label.")
    return replace(index, samples=samples)


def check_classes(manifest: Manifest, index: Index) -> None:
    """Raise for a model without a class of the labeled images.

    Raises:
        InputError: the model lacks a class.
    """
    present = {sample.label for sample in index.samples}
    present |= {argmax_label(sample.votes) for sample in index.samples if sample.votes is not None}
    missing = [name for number, name in enumerate(index.labels) if number in present and name not in manifest.labels]
    if missing:
        raise InputError(f"the images show {', '.join(missing)}, which the model {manifest.name} cannot predict.")
