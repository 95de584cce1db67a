"""Leak lists: training images that are exact duplicates of images in a later split."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

from mien.addresses import path_problem
from mien.atomic import write_atomic
from mien.datasets.fer2013 import USAGES
from mien.datasets.files import read_csv_rows
from mien.datasets.index import Index
from mien.errors import AnnotationError, InputError, reason, write_error

HEADER = ("Usage", "Image name")
"""Optional first line of a leak list."""


def read_leaks(path: str | Path, *, split: str | None = None) -> set[str]:
    """Read the image names of a leak list, a CSV of `Usage,Image name`; spaces around a cell are dropped.

    Args:
        path: the CSV file.
        split: "train", "valid" or "test" to read the images of one split only.

    Raises:
        InputError: the file cannot be read.
        AnnotationError: a line is malformed.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = (
            path_problem(path) or f"{path}: cannot be read: {reason(error)}; expected a CSV file of `Usage,Image name`."
        )
        raise InputError(problem) from error
    leaks: set[str] = set()
    for line, cells in read_csv_rows(data, path, errors="surrogateescape"):
        row = [cell.strip() for cell in cells]
        if line == 1 and row[0] == HEADER[0]:
            continue
        if len(row) != 2 or row[0] not in USAGES:
            problem = f"is not `Usage,Image name` with Usage one of {', '.join(USAGES)}."
            raise AnnotationError(path, line, problem)
        if split in (None, USAGES[row[0]]):
            leaks.add(row[1])
    return leaks


def write_leaks(path: str | Path, index: Index, ids: Collection[str]) -> None:
    """Write a leak list that `read_leaks` and the recipe key `data.exclude` read, in the order of the data set.

    Args:
        path: the CSV file; an existing one is replaced.
        index: the data set.
        ids: ids of the images to list, such as `CheckReport.duplicates_in_later_splits`.

    Raises:
        InputError: the file cannot be written.
    """
    usages = {split: usage for usage, split in USAGES.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((usages[sample.split], sample.id) for sample in index.samples if sample.id in ids)
    try:
        write_atomic(Path(path), text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise write_error(path, error) from error
