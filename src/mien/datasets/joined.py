"""Several data sets as one, over the expressions that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.datasets.index import ImageStore, Index, Sample
from mien.emotions import EXPRESSIONS
from mien.errors import DatasetError, InputError

MIN_MASS = 0.5
"""A sample without a label stays when this share of its label distribution is of the common expressions."""


class JoinedImages:
    """The images of several data sets, each under its name: `rafdb/Image/aligned/...`."""

    def __init__(self, stores: Mapping[str, ImageStore]) -> None:
        self.stores = dict(stores)

    def has(self, name: str) -> bool:
        """Whether there is such an image."""
        first, _, rest = name.partition("/")
        return first in self.stores and self.stores[first].has(rest)

    def read(self, name: str) -> bytes | np.ndarray:
        """An image as its own data set gives it. Raises KeyError when there is none."""
        first, _, rest = name.partition("/")
        return self.stores[first].read(rest)


def join(indexes: Sequence[Index], labels: Sequence[str] | None = None) -> Index:
    """One data set out of several, over one set of labels.

    - A sample's id is prefixed with the name of its data set, and its groups gain `dataset`: reports show each.
    - A sample stays when its label is a common one; without a label, when its label distribution has at least half of
      its mass on them. Distributions are restricted to the common labels and normalized again.
    - Votes are dropped: their protocols hold for FER+ alone. Its majority labels stay.

    Args:
        indexes: one or more; two of the same name are told apart as `folder` and `folder-2`.
        labels: the classes, in order; None: those that all data sets have, in mien's order.

    Raises:
        InputError: no data set, or a label that none of them has.
        DatasetError: no common label, no sample left, or face crops together with whole photographs.
    """
    if not indexes:
        raise InputError("no data set to join. Give at least one.")
    names = _unique_names([index.name for index in indexes])
    named = dict(zip(names, indexes, strict=True))
    _check_framing(named)
    labels = _common_labels(named) if labels is None else _known_labels(indexes, labels)
    samples = tuple(
        kept
        for name, index in named.items()
        for sample in index.samples
        if (kept := _relabeled(name, sample, index.labels, labels)) is not None
    )
    if not samples:
        raise DatasetError(f"{', '.join(names)}: no sample of {', '.join(labels)}.")
    return Index(
        name="+".join(names),
        root=Path(",".join(f"{name}={index.root}" for name, index in named.items())),
        labels=labels,
        samples=samples,
        license="; ".join(f"{name}: {index.license}" for name, index in named.items()),
        is_cropped=indexes[0].is_cropped,
        source=JoinedImages({name: index.images for name, index in named.items()}),
    )


def split_parts(text: str | Path) -> list[tuple[str, str]]:
    """The kinds and paths of `KIND=PATH,KIND=PATH`; a path must hold no comma.

    Raises:
        InputError: the text is not like that.

    Example:
        >>> split_parts("ferplus=ferplus.zip,rafdb=/data/rafdb")
        [('ferplus', 'ferplus.zip'), ('rafdb', '/data/rafdb')]
    """
    parts = [part.strip().partition("=") for part in str(text).split(",")]
    if not all(kind and path for kind, _, path in parts):
        raise InputError(
            f"{str(text)!r} is not KIND=PATH,KIND=PATH, as in ferplus=ferplus.zip,rafdb=rafdb.zip."
        )
    return [(kind, path) for kind, _, path in parts]


def _unique_names(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        same = sum(other == name for other in names[: len(found)])
        found.append(f"{name}-{same + 1}" if same else name)
    return found


def _check_framing(named: Mapping[str, Index]) -> None:
    """Crops and photographs are prepared differently, so a data set is one or the other."""
    framing = {
        kind: [name for name, index in named.items() if index.is_cropped == is_cropped]
        for kind, is_cropped in (("face crops", True), ("whole photographs", False))
    }
    if all(framing.values()):
        found = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in framing.items())
        raise DatasetError(
            f"face crops and whole photographs cannot be joined ({found}). Join those of one kind."
        )


def _common_labels(named: Mapping[str, Index]) -> tuple[str, ...]:
    common = set.intersection(*(set(index.labels) for index in named.values()))
    if not common:
        found = "; ".join(f"{name}: {', '.join(index.labels)}" for name, index in named.items())
        raise DatasetError(f"the data sets have no expression in common ({found}).")
    return tuple(expression for expression in EXPRESSIONS if expression in common)


def _known_labels(indexes: Sequence[Index], labels: Sequence[str]) -> tuple[str, ...]:
    known = {label for index in indexes for label in index.labels}
    if not labels or not known.issuperset(labels) or len(set(labels)) < len(labels):
        raise InputError(
            f"labels are {', '.join(labels) or 'empty'}; give some of {', '.join(sorted(known))} once."
        )
    return tuple(labels)


def _relabeled(name: str, sample: Sample, old: tuple[str, ...], labels: tuple[str, ...]) -> Sample | None:
    """The sample under the common labels, or None when it does not stay."""
    places = [old.index(label) if label in old else None for label in labels]
    masses = [
        0.0 if place is None or sample.label_distribution is None else sample.label_distribution[place]
        for place in places
    ]
    total = sum(masses)
    stays = total >= MIN_MASS if sample.label is None else old[sample.label] in labels
    if not stays:
        return None
    return replace(
        sample,
        id=f"{name}/{sample.id}",
        label=None if sample.label is None else labels.index(old[sample.label]),
        label_distribution=tuple(mass / total for mass in masses) if total > 0 else None,
        votes=None,
        groups={**sample.groups, "dataset": name},
    )
