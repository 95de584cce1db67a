"""Several data sets joined into one over their common expressions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.addresses import public_name
from mien.datasets.files import ImageStore
from mien.datasets.index import Index, Sample, unique_labels
from mien.errors import DatasetError, InputError
from mien.manifest import TrainingSource

DATASET_COLUMN = "dataset"
"""Group of a sample that holds the name of its data set."""
MIN_COMMON_MASS = 0.5
"""Minimum share of the label distribution on the common expressions for a sample without a label."""


class JoinedImages:
    """Images of several data sets, each prefixed with the name of its data set: `rafdb/Image/aligned/...`."""

    def __init__(self, stores: Mapping[str, ImageStore]) -> None:
        self.stores = dict(stores)

    def has(self, name: str) -> bool:
        """Return whether an image of this name exists."""
        dataset, _, rest = name.partition("/")
        return dataset in self.stores and self.stores[dataset].has(rest)

    def read(self, name: str) -> bytes | np.ndarray:
        """Return an image as its data set stores it. Raises KeyError if it does not exist."""
        dataset, _, rest = name.partition("/")
        return self.stores[dataset].read(rest)


def join(indexes: Sequence[Index], labels: Sequence[str] | None = None) -> Index:
    """Join data sets into one, over one list of labels.

    - Sample ids are prefixed with the name of the data set, which also becomes the group `dataset` in reports; a column
      of this name in the data is renamed to `dataset-2`.
    - Samples with another label are dropped. A sample without a label needs at least half of its label distribution on
      the common labels. Distributions are restricted to these and normalized.
    - Votes are dropped, because their protocols apply to FER+ only. Its majority labels remain.

    Args:
        indexes: one or more data sets; equal names get a suffix: `folder` and `folder-2`.
        labels: the classes, in order; None uses those of all data sets, in the order of `mien.EXPRESSIONS`.

    Raises:
        InputError: no data set is given, or none has one of the labels.
        DatasetError: no label is common to all, no sample is left, or face crops are joined with photographs.
    """
    if not indexes:
        raise InputError("no data set to join; expected at least one.")
    names = _unique_names([index.name for index in indexes])
    named = dict(zip(names, indexes, strict=True))
    _check_same_framing(named)
    labels = _common_labels(named) if labels is None else _check_labels(indexes, labels)
    column = _free_column(indexes)
    samples = tuple(
        relabeled
        for name, index in named.items()
        for sample in index.samples
        if (relabeled := _relabel(name, sample, index.labels, labels, column)) is not None
    )
    if not samples:
        raise DatasetError(f"{', '.join(names)}: no sample of {', '.join(labels)}.")
    return Index(
        name="+".join(names),
        root=Path(",".join(f"{name}={index.root}" for name, index in named.items())),
        labels=labels,
        samples=samples,
        license="; ".join(f"{name}: {index.license}" for name, index in named.items()),
        parts={name: TrainingSource(name=index.title or name, license=index.license) for name, index in named.items()},
        is_cropped=indexes[0].is_cropped,
        source=JoinedImages({name: index.images for name, index in named.items()}),
    )


def parse_parts(text: str | Path) -> list[tuple[str, str]]:
    """Return the kinds and paths of `KIND=PATH,KIND=PATH`; a path must not contain a comma.

    Raises:
        InputError: the text does not have this form.

    Example:
        >>> parse_parts("ferplus=ferplus.zip,rafdb=/data/rafdb")
        [('ferplus', 'ferplus.zip'), ('rafdb', '/data/rafdb')]
    """
    parts = [part.strip().partition("=") for part in str(text).split(",")]
    if not all(kind and path for kind, _, path in parts):
        name = public_name(str(text))
        raise InputError(
            f"{name!r} is not of the form KIND=PATH,KIND=PATH, such as ferplus=ferplus.zip,rafdb=rafdb.zip."
        )
    return [(kind, path) for kind, _, path in parts]


def _unique_names(names: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for position, name in enumerate(names):
        count = names[:position].count(name)
        unique.append(f"{name}-{count + 1}" if count else name)
    return unique


def _check_same_framing(named: Mapping[str, Index]) -> None:
    """Raise for face crops beside photographs: their faces are prepared differently."""
    crops = [name for name, index in named.items() if index.is_cropped]
    photographs = [name for name, index in named.items() if not index.is_cropped]
    if crops and photographs:
        listing = f"face crops: {', '.join(crops)}; whole photographs: {', '.join(photographs)}"
        raise DatasetError(
            f"face crops and whole photographs cannot be joined ({listing}). Join data sets of one kind."
        )


def _common_labels(named: Mapping[str, Index]) -> tuple[str, ...]:
    common = set.intersection(*(set(index.labels) for index in named.values()))
    if not common:
        listing = "; ".join(f"{name}: {', '.join(index.labels)}" for name, index in named.items())
        raise DatasetError(f"the data sets have no expression in common ({listing}).")
    return unique_labels(common)


def _check_labels(indexes: Sequence[Index], labels: Sequence[str]) -> tuple[str, ...]:
    available = {label for index in indexes for label in index.labels}
    if not labels or not available.issuperset(labels) or len(set(labels)) < len(labels):
        raise InputError(
            f"labels are {', '.join(labels) or 'empty'}; expected distinct names among {', '.join(sorted(available))}."
        )
    return tuple(labels)


def _free_column(indexes: Sequence[Index]) -> str:
    """Return the first of `dataset-2`, `dataset-3`, ... that is not a column of the data."""
    columns = {column for index in indexes for sample in index.samples for column in sample.groups}
    return next(name for number in itertools.count(2) if (name := f"{DATASET_COLUMN}-{number}") not in columns)


def _relabel(name: str, sample: Sample, old: tuple[str, ...], labels: tuple[str, ...], column: str) -> Sample | None:
    """Return the sample with class ids of the common labels, or None where it is dropped.

    Args:
        name: name of its data set.
        sample: a sample.
        old: labels of its data set.
        labels: the common labels.
        column: new name of a column `dataset` in the data.
    """
    positions = [old.index(label) if label in old else None for label in labels]
    masses = [
        0.0 if position is None or sample.label_distribution is None else sample.label_distribution[position]
        for position in positions
    ]
    total = sum(masses)
    if total < MIN_COMMON_MASS if sample.label is None else old[sample.label] not in labels:
        return None
    groups = {column if key == DATASET_COLUMN else key: value for key, value in sample.groups.items()}
    return replace(
        sample,
        id=f"{name}/{sample.id}",
        label=None if sample.label is None else labels.index(old[sample.label]),
        label_distribution=tuple(mass / total for mass in masses) if total > 0 else None,
        votes=None,
        groups={**groups, DATASET_COLUMN: name},
    )
