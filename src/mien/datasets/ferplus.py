"""FER+ adapter: the faces of FER2013 with ten annotator votes each, and two protocols that derive a label from votes.

Source:
    Barsoum, Zhang, Canton Ferrer, Zhang: Training Deep Networks for Facial Expression Recognition with
    Crowd-Sourced Label Distribution (ICMI 2016); their `ferplus.py`, mode "majority".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.datasets.fer2013 import USAGES, PixelTable, scan_pixel_table
from mien.datasets.files import Files, ImageStore, dataset_path, open_files, read_csv_rows, read_labels
from mien.datasets.index import Index, Sample
from mien.emotions import EXPRESSIONS
from mien.errors import AnnotationError, InputError, LayoutError

FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
"""Folder of each split in the official layout."""

VOTE_COLUMNS = (*EXPRESSIONS, "unknown", "NF")
"""Vote columns of `fer2013new.csv`, in order (Barsoum et al. 2016)."""

KAGGLE_PAIR = ("fer2013.csv", "fer2013new.csv")

LICENSE = "votes MIT (Microsoft); faces collected from the web for the FER2013 challenge, for research"
LAYOUT = (
    "FER2013Train/, FER2013Valid/ or FER2013Test/ with fer2013new.csv beside them or label.csv in each, "
    "or the Kaggle pair fer2013.csv and fer2013new.csv"
)
NO_LABEL = -1
"""Class id of an image that a protocol excludes."""

_CLASSES = len(EXPRESSIONS)


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """Return the labels of the official protocol, (N,) int64 class ids or `NO_LABEL`.

    Votes of 1 are set to zero; then the class with most votes must have more than half of them. Images whose top class
    is unknown or NF (not a face) have no label. 3,199 validation images have one (published for test: 3,153).

    Args:
        votes: (N, 10), in the order of `VOTE_COLUMNS`.
    """
    votes = _without_single_votes(votes)
    is_majority = votes.max(axis=1) > 0.5 * votes.sum(axis=1)
    labels = votes.argmax(axis=1)
    return np.where(is_majority & (labels < _CLASSES), labels, NO_LABEL)


def argmax_labels(votes: np.ndarray) -> np.ndarray:
    """Return the labels of the argmax protocol, (N,) int64 class ids or `NO_LABEL`.

    The label is the class with most raw votes, the first column in a tie. Images whose top class is unknown or NF (not
    a face) have no label. 3,553 validation images have one (published for test: 3,546).

    Args:
        votes: (N, 10), in the order of `VOTE_COLUMNS`.
    """
    votes = _as_rows(votes)
    labels = votes.argmax(axis=1)
    return np.where((labels < _CLASSES) & (votes.max(axis=1) > 0), labels, NO_LABEL)


def majority_label(votes: Iterable[float]) -> int | None:
    """Return the official label of one image, or None; see `majority_labels`.

    Example:
        >>> majority_label([4, 0, 0, 1, 3, 2, 0, 0, 0, 0]), majority_label([6, 0, 1, 1, 0, 0, 0, 0, 2, 0])
        (None, 0)
    """
    return _label_or_none(majority_labels(np.array([tuple(votes)], dtype=float))[0])


def argmax_label(votes: Iterable[float]) -> int | None:
    """Return the argmax label of one image, or None; see `argmax_labels`."""
    return _label_or_none(argmax_labels(np.array([tuple(votes)], dtype=float))[0])


def vote_distributions(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return training targets: the votes for the eight expressions without votes of 1, normalized.

    Args:
        votes: (N, 10), in the order of `VOTE_COLUMNS`.

    Returns:
        (N, 8) label distributions, and (N,) bool: whether each is usable. A row is zero and not usable if no vote
        remains or if unknown or NF has most votes.
    """
    votes = _without_single_votes(votes)
    is_usable = (votes.argmax(axis=1) < _CLASSES) & (votes.sum(axis=1) > 0)
    expressions = np.where(is_usable[:, None], votes[:, :_CLASSES], 0.0)
    return expressions / np.maximum(expressions.sum(axis=1, keepdims=True), 1.0), is_usable


def read_ferplus(path: str | Path, *, exclude: Collection[str] = frozenset()) -> Index:
    """Read FER+ in its official layout or as the Kaggle pair of CSV files.

    Only splits whose image folders exist are read, each from `fer2013new.csv` if that has rows for it, else from the
    `label.csv` in its folder. An image that is listed twice (three are) is read once.

    Args:
        path: folder or zip archive; the files may be in a subfolder, beside other files.
        exclude: names or ids of images to leave out (`fer0000077.png`); see `read_leaks`.

    Raises:
        LayoutError: the expected files are missing, or exist several times.
        AnnotationError: a row of a label file is malformed.
    """
    path = dataset_path(path)
    files = open_files(path)
    names = files.names()
    if root := _find_root(path, names):
        files = files.subfolder(root)
        names = files.names()
    folders = {name.split("/", 1)[0] for name in names if "/" in name}
    splits = [split for split, folder in FOLDERS.items() if folder in folders]
    source: ImageStore
    if splits:
        source = files
        rows = _read_official(path / root, files, splits)
    elif set(KAGGLE_PAIR) <= set(names):
        source, rows = _read_kaggle(path / root, files)
    else:
        raise LayoutError(path, LAYOUT)
    if not rows:
        raise LayoutError(path / root, "at least one labeled image")
    excluded = frozenset(exclude)
    rows = [row for row in rows if excluded.isdisjoint((_image_name(row), row.id))]
    return Index(
        name="ferplus",
        root=path,
        labels=EXPRESSIONS,
        samples=tuple(_samples(rows)),
        license=LICENSE,
        title="FER+ (votes: Barsoum et al. 2016; faces: FER2013)",
        is_cropped=True,
        source=source,
    )


def _find_root(path: Path, names: list[str]) -> str:
    """Return the uppermost folder with the folders of the splits or the Kaggle pair; "" for the top folder."""
    parents = [{name.rpartition("/")[0] for name in names if name.split("/")[-1] == file} for file in KAGGLE_PAIR]
    roots = set.intersection(*parents)
    for name in names:
        folders = name.split("/")[:-1]
        depth = next((depth for depth, folder in enumerate(folders) if folder in FOLDERS.values()), None)
        if depth is not None:
            roots.add("/".join(folders[:depth]))
    depths = {root: len(Path(root).parts) for root in roots}
    min_depth = min(depths.values(), default=0)
    uppermost = sorted(root for root, depth in depths.items() if depth == min_depth)
    if len(uppermost) > 1:
        raise LayoutError(path, f"one data set; found several: {', '.join(uppermost[:3])}")
    return uppermost[0] if uppermost else ""


def _as_rows(votes: np.ndarray) -> np.ndarray:
    votes = np.asarray(votes, dtype=float)
    if votes.ndim != 2 or votes.shape[1] != len(VOTE_COLUMNS):
        raise InputError(f"votes have the shape {votes.shape}; expected (N, {len(VOTE_COLUMNS)}).")
    return votes


def _without_single_votes(votes: np.ndarray) -> np.ndarray:
    votes = _as_rows(votes)
    return np.where(votes > 1, votes, 0.0)


def _label_or_none(label: int) -> int | None:
    return None if label == NO_LABEL else int(label)


def _image_name(row: Sample) -> str:
    """Return the file name of the image; "" for images that FER+ dropped."""
    return row.id.partition("/")[2]


def _read_official(path: Path, files: Files, splits: list[str]) -> list[Sample]:
    table = _read_new_csv(path, files) if files.has("fer2013new.csv") else []
    rows: list[Sample] = []
    for split in splits:
        file = path / "fer2013new.csv"
        split_rows = [row for row in table if row.split == split]
        if not split_rows:
            name = f"{FOLDERS[split]}/label.csv"
            file = path / name
            if not files.has(name):
                raise LayoutError(file.parent, "label.csv in this folder, or its rows in fer2013new.csv")
            lines = read_csv_rows(read_labels(files, name, file), file)
            split_rows = [_parse_row(file, line, cells, split, name_column=0) for line, cells in lines]
        rows += _deduplicate(file, split_rows)
    return rows


def _read_new_csv(path: Path, files: Files) -> list[Sample]:
    file = path / "fer2013new.csv"
    rows: list[Sample] = []
    for line, cells in read_csv_rows(read_labels(files, "fer2013new.csv", file), file):
        if not rows and cells[0] == "Usage":
            continue
        if cells[0] not in USAGES:
            raise AnnotationError(file, line, f"Usage is {cells[0]!r}, not one of {', '.join(USAGES)}.")
        rows.append(_parse_row(file, line, cells, USAGES[cells[0]], name_column=1))
    return rows


def _parse_row(file: Path, line: int, cells: list[str], split: str, name_column: int) -> Sample:
    """Parse a row of either file: two columns (name and box, or Usage and name), then ten votes."""
    expected = 2 + len(VOTE_COLUMNS)
    if len(cells) != expected:
        raise AnnotationError(file, line, f"has {len(cells)} columns, not {expected}.")
    try:
        votes = tuple(map(float, cells[2:]))
    except ValueError:
        votes = (-1.0,)
    if not all(0 <= vote < np.inf for vote in votes):
        raise AnnotationError(file, line, f"the votes {','.join(cells[2:])} are not all numbers >= 0.")
    return Sample(id=f"{FOLDERS[split]}/{cells[name_column].strip()}", split=split, votes=votes, line=line)


def _deduplicate(file: Path, rows: list[Sample]) -> list[Sample]:
    """Return the first row of each image, without the rows that name none."""
    first_rows: dict[str, Sample] = {}
    for row in rows:
        if _image_name(row) and first_rows.setdefault(row.id, row).votes != row.votes:
            problem = f"{_image_name(row)} has other votes than in line {first_rows[row.id].line}."
            raise AnnotationError(file, row.line or 0, problem)
    return list(first_rows.values())


def _samples(rows: list[Sample]) -> list[Sample]:
    """Return the rows with the official labels and the label distributions."""
    votes = np.array([row.votes for row in rows], dtype=float).reshape(-1, len(VOTE_COLUMNS))
    labels = map(_label_or_none, majority_labels(votes))
    distributions, is_usable = vote_distributions(votes)
    return [
        replace(row, label=label, label_distribution=tuple(distribution) if usable else None)
        for row, label, distribution, usable in zip(rows, labels, distributions.tolist(), is_usable, strict=True)
    ]


def _read_kaggle(path: Path, files: Files) -> tuple[PixelTable, list[Sample]]:
    pixels = path / "fer2013.csv"
    rows = _read_new_csv(path, files)
    pixel_rows = scan_pixel_table(files, "fer2013.csv", pixels)
    if len(pixel_rows) != len(rows):
        raise LayoutError(
            path, f"the same rows in both files; fer2013.csv has {len(pixel_rows)}, fer2013new.csv has {len(rows)}"
        )
    positions: dict[str, tuple[int, int]] = {}
    for row, pixel_row in zip(rows, pixel_rows, strict=True):
        if USAGES.get(pixel_row.usage) != row.split:
            problem = f"Usage is {pixel_row.usage!r}, which differs from fer2013new.csv."
            raise AnnotationError(pixels, pixel_row.line, problem)
        if _image_name(row):
            positions[row.id] = (pixel_row.line, pixel_row.offset)
    return PixelTable(files, "fer2013.csv", pixels, positions), _deduplicate(path / "fer2013new.csv", rows)
