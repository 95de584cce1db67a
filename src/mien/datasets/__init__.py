"""Data set adapters, which read label files and images into an `Index` of samples, and data set checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import is_zipfile

from mien.datasets.affectnet import read_affectnet, read_affectnet7
from mien.datasets.check import (
    CheckReport,
    check_dataset,
    count_classes,
    count_groups,
    find_duplicates,
    without_duplicates,
)
from mien.datasets.fer2013 import read_fer2013
from mien.datasets.ferplus import (
    argmax_label,
    argmax_labels,
    majority_label,
    majority_labels,
    read_ferplus,
    vote_distributions,
)
from mien.datasets.files import dataset_path
from mien.datasets.folder import read_folder
from mien.datasets.index import ANY_SPLIT, SPLITS, Index, Sample
from mien.datasets.joined import join, parse_parts
from mien.datasets.leaks import read_leaks, write_leaks
from mien.datasets.rafdb import read_rafdb
from mien.datasets.table import PARQUET_SUFFIXES, read_table
from mien.emotions import DatasetKind
from mien.errors import InputError

__all__ = [
    "ADAPTERS",
    "ANY_SPLIT",
    "SPLITS",
    "CheckReport",
    "DatasetKind",
    "Index",
    "Sample",
    "argmax_label",
    "argmax_labels",
    "check_dataset",
    "count_classes",
    "count_groups",
    "find_duplicates",
    "guess_kind",
    "join",
    "majority_label",
    "majority_labels",
    "read_affectnet",
    "read_affectnet7",
    "read_dataset",
    "read_fer2013",
    "read_ferplus",
    "read_folder",
    "read_joined",
    "read_leaks",
    "read_rafdb",
    "read_table",
    "vote_distributions",
    "without_duplicates",
    "write_leaks",
]


def read_joined(path: str | Path) -> Index:
    """Read several data sets, given as `KIND=PATH,KIND=PATH`, as one (see `join`).

    Raises:
        InputError: the text has another form, or a kind is unknown.
        DatasetError: a data set cannot be read, or they cannot be joined.
    """
    parts = parse_parts(path)
    if any(kind == "joined" for kind, _ in parts):
        raise InputError("joined data sets cannot be joined again; list their parts.")
    return join([read_dataset(kind, part) for kind, part in parts])


ADAPTERS: dict[str, Callable[[str | Path], Index]] = {
    "ferplus": read_ferplus,
    "rafdb": read_rafdb,
    "affectnet": read_affectnet,
    "affectnet7": read_affectnet7,
    "fer2013": read_fer2013,
    "folder": read_folder,
    "table": read_table,
    "joined": read_joined,
}
"""Reader of each kind of data set."""


def guess_kind(path: str | Path) -> DatasetKind:
    """Guess the layout of a user's own data set from its path.

    "joined" for `KIND=PATH,KIND=PATH`, "table" for a file that is not a zip archive, "folder" otherwise.

    Raises:
        DatasetError: the text is empty or an address, or the path cannot be accessed.
    """
    path = dataset_path(path)
    if "=" in str(path) and not path.exists():
        return "joined"
    if path.exists():
        return "table" if path.is_file() and not is_zipfile(path) else "folder"
    # the reader of the layout that was meant says that it does not exist
    return "table" if path.suffix.lower() in (".csv", *PARQUET_SUFFIXES) else "folder"


def read_dataset(kind: str, path: str | Path) -> Index:
    """Read a data set.

    Args:
        kind: a key of `ADAPTERS`: "ferplus", "rafdb", "affectnet", "folder", "table" ...
        path: folder or zip archive; for "table" the file, for "joined" `KIND=PATH,KIND=PATH`.

    Raises:
        InputError: the kind is unknown.
        DatasetError: the data set cannot be read.
    """
    if kind not in ADAPTERS:
        raise InputError(f"unknown kind of data set {kind!r}; expected one of {', '.join(ADAPTERS)}.")
    return ADAPTERS[kind](path)
