"""Leak lists: images to leave out of training because their pixels also stand in a later split."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

from mien.atomic import write_atomic
from mien.datasets.fer2013 import USAGES
from mien.datasets.index import Index, csv_rows
from mien.errors import AnnotationError, InputError

HEADER = ("Usage", "Image name")
"""The first line of a leak list, which may be missing."""


def read_leaks(path: str | Path, *, split: str | None = None) -> set[str]:
    """The image names of a leak list (`Usage,Image name`): images whose pixels also stand in a later split.

    Args:
        path: the CSV.
        split: "train", "valid" or "test": only the images of this split; None: all.

    Raises:
        InputError: the file cannot be read.
        AnnotationError: a line is wrong.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Give a CSV with `Usage,Image name`.") from error
    leaks: set[str] = set()
    for line, row in csv_rows(data, path):
        if line == 1 and row[0] == HEADER[0]:
            continue
        if len(row) != 2 or row[0] not in USAGES:
            raise AnnotationError(
                path, line, f"is not `Usage,Image name` with a Usage of {', '.join(USAGES)}."
            )
        if split in (None, USAGES[row[0]]):
            leaks.add(row[1])
    return leaks


def write_leaks(path: str | Path, index: Index, ids: Collection[str]) -> None:
    """Write a leak list for `read_leaks`, and so for a recipe's `data.exclude`, in the order of the data set.

    Args:
        path: the CSV; an older one is replaced.
        index: the data set.
        ids: which of its images to list, as `CheckReport.duplicates_in_later_splits` has them.

    Raises:
        InputError: the file cannot be written.
    """
    usage_of = {split: usage for usage, split in USAGES.items()}
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEADER)
    lines.writerows((usage_of[sample.split], sample.id) for sample in index.samples if sample.id in ids)
    try:
        write_atomic(Path(path), text.getvalue())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Give a file that can be written.") from error
