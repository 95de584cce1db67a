"""Data sets: label files and pictures in, an `Index` of samples out; none of it needs torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mien.datasets.check import (
    CheckReport,
    check_dataset,
    count_classes,
    find_twins,
)
from mien.datasets.ferplus import (
    argmax_label,
    argmax_labels,
    majority_label,
    majority_labels,
    read_ferplus,
    read_leaks,
    vote_distributions,
)
from mien.datasets.folder import read_folder
from mien.datasets.index import ANY_SPLIT, SPLITS, Index, Sample
from mien.datasets.table import read_table
from mien.errors import InputError

__all__ = [
    "ADAPTERS",
    "ANY_SPLIT",
    "SPLITS",
    "CheckReport",
    "Index",
    "Sample",
    "argmax_label",
    "argmax_labels",
    "check_dataset",
    "count_classes",
    "find_twins",
    "majority_label",
    "majority_labels",
    "read_dataset",
    "read_ferplus",
    "read_folder",
    "read_leaks",
    "read_table",
    "vote_distributions",
]

ADAPTERS: dict[str, Callable[[str | Path], Index]] = {
    "ferplus": read_ferplus,
    "folder": read_folder,
    "table": read_table,
}
"""The kinds of data set: each reads a path into an `Index`."""


def read_dataset(kind: str, path: str | Path) -> Index:
    """Read a data set of a kind of `ADAPTERS`.

    Raises:
        InputError: no such kind.
        DatasetError: the data set cannot be used.
    """
    if kind not in ADAPTERS:
        raise InputError(f"no kind of data set {kind!r}. Give one of: {', '.join(ADAPTERS)}.")
    return ADAPTERS[kind](path)
