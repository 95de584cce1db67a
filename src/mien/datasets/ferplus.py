"""FER+: the faces of FER2013 with ten human votes each, and the two protocols that turn votes into one label.

Source:
    Barsoum, Zhang, Canton Ferrer, Zhang: Training Deep Networks for Facial Expression Recognition with
    Crowd-Sourced Label Distribution (ICMI 2016); their `ferplus.py`, mode "majority".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from mien.datasets.fer2013 import USAGES, PixelTable, scan_pixel_table
from mien.datasets.index import Files, ImageStore, Index, Sample, csv_rows, open_files
from mien.emotions import EXPRESSIONS, FERPLUS_COLUMNS
from mien.errors import AnnotationError, InputError, LayoutError

FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
"""What the official layout calls the splits."""

KAGGLE_PAIR = ("fer2013.csv", "fer2013new.csv")

LICENSE = "labels MIT (Microsoft); faces of the FER2013 challenge"
LAYOUT = (
    "FER2013Train/, FER2013Valid/ or FER2013Test/ with fer2013new.csv at the top or label.csv in each, "
    "or the Kaggle pair fer2013.csv and fer2013new.csv"
)
NOT_COUNTED = -1
"""What the protocols over many images give for an image that does not count."""

_CLASSES = len(EXPRESSIONS)


@dataclass(frozen=True)
class _Row:
    """One line of votes: an empty name means that FER+ dropped the image."""

    split: str
    name: str
    votes: tuple[float, ...]
    file: Path
    line: int

    @property
    def id(self) -> str:
        return f"{FOLDERS[self.split]}/{self.name}"


def majority_labels(votes: np.ndarray) -> np.ndarray:
    """The official protocol: class ids (N,) int64, `NOT_COUNTED` where an image does not count.

    Votes of 1 are zeroed; the largest class must then have more than half of the votes left; images whose
    largest class is unknown or NF do not count. It keeps 3,199 validation images (published: 3,153 of test).

    Args:
        votes: (N, 10), the columns of `FERPLUS_COLUMNS`.
    """
    kept = _without_single_votes(votes)
    is_majority = kept.max(axis=1) > 0.5 * kept.sum(axis=1)
    labels = kept.argmax(axis=1)
    return np.where(is_majority & (labels < _CLASSES), labels, NOT_COUNTED)


def argmax_labels(votes: np.ndarray) -> np.ndarray:
    """The plain protocol: class ids (N,) int64, `NOT_COUNTED` where an image does not count.

    The class is the one with most raw votes, the first of the columns where several tie; an image counts
    unless that is unknown or NF. It keeps 3,553 validation images (published: 3,546 of test).

    Args:
        votes: (N, 10), the columns of `FERPLUS_COLUMNS`.
    """
    votes = _as_rows(votes)
    labels = votes.argmax(axis=1)
    return np.where((labels < _CLASSES) & (votes.max(axis=1) > 0), labels, NOT_COUNTED)


def majority_label(votes: Iterable[float]) -> int | None:
    """The official label of one image, or None when it does not count: see `majority_labels`.

    Example:
        >>> majority_label([4, 0, 0, 1, 3, 2, 0, 0, 0, 0]), majority_label([6, 0, 1, 1, 0, 0, 0, 0, 2, 0])
        (None, 0)
    """
    return _label_or_none(majority_labels(np.array([tuple(votes)], dtype=float))[0])


def argmax_label(votes: Iterable[float]) -> int | None:
    """The label of one image by the plain protocol, or None when it does not count: see `argmax_labels`."""
    return _label_or_none(argmax_labels(np.array([tuple(votes)], dtype=float))[0])


def vote_distributions(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training targets: votes of 1 zeroed, the eight expressions normalized.

    Args:
        votes: (N, 10), the columns of `FERPLUS_COLUMNS`.

    Returns:
        (N, 8) label distributions, and (N,) whether each is usable: it is not, and its row is zero, when no
        vote is left or when unknown or NF has most of them.
    """
    kept = _without_single_votes(votes)
    is_usable = (kept.argmax(axis=1) < _CLASSES) & (kept.sum(axis=1) > 0)
    expressions = np.where(is_usable[:, None], kept[:, :_CLASSES], 0.0)
    return expressions / np.maximum(expressions.sum(axis=1, keepdims=True), 1.0), is_usable


def read_ferplus(path: str | Path, *, exclude: Collection[str] = frozenset()) -> Index:
    """Read FER+ from its official layout or from the Kaggle pair of CSV files, in a folder or a zip.

    Only splits whose images are there are read; each from `fer2013new.csv` where that has rows for it,
    otherwise from the `label.csv` in the split's folder. An image named twice there (three are) is read once.

    Args:
        path: the folder or zip; everything may stand in a folder further down, beside other files.
        exclude: names or ids of images to leave out (`fer0000077.png`); see `read_leaks`.

    Raises:
        LayoutError: the files are not there.
        AnnotationError: a line of a label file is wrong.
    """
    path = Path(path)
    files: Files = open_files(path)
    names = files.names()
    if home := _home(path, names):
        files = files.below(home)
        names = files.names()
    where = path / home
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    splits = [split for split, folder in FOLDERS.items() if folder in tops]
    source: ImageStore
    if splits:
        source, rows = files, _read_official(where, files, splits)
    elif set(KAGGLE_PAIR) <= set(names):
        source, rows = _read_kaggle(where, files)
    else:
        raise LayoutError(path, LAYOUT)
    excluded = frozenset(exclude)
    samples = _samples([row for row in _each_once(where, rows) if excluded.isdisjoint((row.name, row.id))])
    return Index(
        name="ferplus",
        root=path,
        labels=EXPRESSIONS,
        samples=tuple(samples),
        license=LICENSE,
        is_cropped=True,
        source=source,
    )


def _home(path: Path, names: list[str]) -> str:
    """The folder, nearest to the top, that holds the splits' folders or the Kaggle pair; "" for the top itself."""
    parents = {file: {_parent(name) for name in names if name.split("/")[-1] == file} for file in KAGGLE_PAIR}
    homes = set.intersection(*parents.values())
    for name in names:
        folders = name.split("/")[:-1]
        depth = next((depth for depth, folder in enumerate(folders) if folder in FOLDERS.values()), None)
        if depth is not None:
            homes.add("/".join(folders[:depth]))
    depths = {home: len(PurePosixPath(home).parts) for home in homes}
    least = min(depths.values(), default=0)
    nearest = sorted(home for home, depth in depths.items() if depth == least)
    if len(nearest) > 1:
        raise LayoutError(path, f"one data set; there are several: {', '.join(nearest[:3])}")
    return nearest[0] if nearest else ""


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _as_rows(votes: np.ndarray) -> np.ndarray:
    votes = np.asarray(votes, dtype=float)
    if votes.ndim != 2 or votes.shape[1] != len(FERPLUS_COLUMNS):
        raise InputError(f"votes have the shape {votes.shape}; give (N, {len(FERPLUS_COLUMNS)}).")
    return votes


def _without_single_votes(votes: np.ndarray) -> np.ndarray:
    votes = _as_rows(votes)
    return np.where(votes > 1, votes, 0.0)


def _label_or_none(label: int) -> int | None:
    return None if label == NOT_COUNTED else int(label)


def _read_official(path: Path, files: Files, splits: list[str]) -> list[_Row]:
    table = _read_new_csv(path, files) if files.has("fer2013new.csv") else []
    rows: list[_Row] = []
    for split in splits:
        of_split = [row for row in table if row.split == split]
        label_csv = f"{FOLDERS[split]}/label.csv"
        if not of_split and not files.has(label_csv):
            raise LayoutError(path / FOLDERS[split], "label.csv in it, or rows for it in fer2013new.csv")
        rows += of_split or _read_label_csv(path, files, label_csv, split)
    return rows


def _read_new_csv(path: Path, files: Files) -> list[_Row]:
    file = path / "fer2013new.csv"
    rows: list[_Row] = []
    for line, cells in csv_rows(files.read("fer2013new.csv"), file):
        if not rows and cells[0] == "Usage":
            continue
        if cells[0] not in USAGES:
            raise AnnotationError(file, line, f"Usage is {cells[0]!r}, not one of {', '.join(USAGES)}.")
        rows.append(_parse_row(cells, split=USAGES[cells[0]], name_column=1, file=file, line=line))
    return rows


def _read_label_csv(path: Path, files: Files, name: str, split: str) -> list[_Row]:
    file = path / name
    return [
        _parse_row(cells, split=split, name_column=0, file=file, line=line)
        for line, cells in csv_rows(files.read(name), file)
    ]


def _parse_row(cells: list[str], *, split: str, name_column: int, file: Path, line: int) -> _Row:
    """A row of either file: two columns (name and box, or Usage and name), then the ten votes."""
    expected = 2 + len(FERPLUS_COLUMNS)
    if len(cells) != expected:
        raise AnnotationError(file, line, f"has {len(cells)} columns, not {expected}.")
    try:
        votes = tuple(map(float, cells[2:]))
    except ValueError:
        votes = (-1.0,)
    if not all(0 <= vote < np.inf for vote in votes):
        raise AnnotationError(file, line, f"the votes {','.join(cells[2:])} are not all numbers >= 0.")
    return _Row(split, cells[name_column].strip(), votes, file, line)


def _each_once(path: Path, rows: list[_Row]) -> list[_Row]:
    """The rows that name an image, each image once."""
    firsts: dict[str, _Row] = {}
    for row in rows:
        if row.name and firsts.setdefault(row.id, row).votes != row.votes:
            problem = f"{row.name} has other votes than in line {firsts[row.id].line}."
            raise AnnotationError(row.file, row.line, problem)
    if not firsts:
        raise LayoutError(path, "at least one labeled image")
    return list(firsts.values())


def _samples(rows: list[_Row]) -> list[Sample]:
    votes = np.array([row.votes for row in rows], dtype=float).reshape(-1, len(FERPLUS_COLUMNS))
    labels = majority_labels(votes)
    distributions, is_usable = vote_distributions(votes)
    return [
        Sample(
            id=row.id,
            split=row.split,
            label=_label_or_none(label),
            label_distribution=tuple(distribution) if usable else None,
            votes=row.votes,
            line=row.line,
        )
        for row, label, distribution, usable in zip(
            rows, labels.tolist(), distributions.tolist(), is_usable.tolist(), strict=True
        )
    ]


def _read_kaggle(path: Path, files: Files) -> tuple[PixelTable, list[_Row]]:
    pixels = path / "fer2013.csv"
    rows = _read_new_csv(path, files)
    places = scan_pixel_table(files, "fer2013.csv", pixels)
    if len(places) != len(rows):
        raise LayoutError(
            path,
            f"the same rows in both files: fer2013.csv has {len(places)}, fer2013new.csv has {len(rows)}",
        )
    for row, place in zip(rows, places, strict=True):
        if USAGES.get(place.usage) != row.split:
            raise AnnotationError(
                pixels, place.line, f"Usage is {place.usage!r}; fer2013new.csv has another here."
            )
    named = {row.id: (place.line, place.offset) for row, place in zip(rows, places, strict=True) if row.name}
    return PixelTable(files, "fer2013.csv", pixels, named), rows
