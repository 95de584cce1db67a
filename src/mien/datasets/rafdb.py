"""RAF-DB, its seven basic expressions, in three layouts: the owners', the common re-packed one, and EfficientFace's.

Source:
    Li, Deng, Du: Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild
    (CVPR 2017). The data is given to those who ask its owners.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mien.datasets.index import Files, Index, Sample, csv_rows, hold_out_validation, one_hot, open_files
from mien.emotions import BASIC_EXPRESSIONS, EFFICIENTFACE_CLASSES, RAFDB_CLASSES
from mien.errors import AnnotationError, LayoutError
from mien.imaging import IMAGE_SUFFIXES

HELD_OUT = 0.1
"""The share of every class's training images that is the validation split."""

GENDERS = ("male", "female", "unsure")
RACES = ("Caucasian", "African-American", "Asian")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")
"""What the numbers of the owners' annotations mean; ages in years."""

LICENSE = "research only; ask the owners of RAF-DB"
LABEL_LIST = "EmoLabel/list_patition_label.txt"
LAYOUT = (
    f"basic/{LABEL_LIST} with basic/Image/aligned/ or basic/Image/original/; "
    "DATASET/{train,test}/{1..7}/; or EfficientFace's {train,test}/{0..6}/"
)
_IN_CLASS = re.compile(r"(?P<home>(?:.*/)?)(?P<split>train|test)/(?P<number>[0-7])/(?P<file>[^/]+)")


@dataclass(frozen=True)
class _Row:
    """One image; what the owners' annotation adds, where that is there."""

    id: str
    split: str
    expression: str
    line: int | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    landmarks_xy: tuple[tuple[float, float], ...] | None = None


def read_rafdb(path: str | Path) -> Index:
    """Read RAF-DB (basic) from any of three layouts, in a folder or a zip.

    - the owners': `basic/EmoLabel/list_patition_label.txt`; the aligned images where they are there, otherwise the
      originals: whole photographs, whose five landmarks are taken from `basic/Annotation/manual/`. That also gives
      the groups gender, race and age, as the annotators perceived them.
    - re-packed: `DATASET/{train,test}/{1..7}/`; `train_labels.csv` and `test_labels.csv` must not contradict it.
    - EfficientFace's: `{train,test}/{0..6}/`, another order of the classes.

    RAF-DB has no validation split: a tenth of every class of the training split is held out as "valid" (see
    `hold_out_validation`), the same images in every layout that keeps the owners' file names.

    Args:
        path: the folder or zip; everything may stand in a folder further down.

    Raises:
        LayoutError: the files are not there.
        AnnotationError: a line of a label file is wrong, or names an image that is not there.
    """
    path = Path(path)
    files: Files = open_files(path)
    names = files.names()
    lists = [name for name in names if f"/{name}".endswith(f"/{LABEL_LIST}")]
    is_cropped = True
    if len(lists) > 1:
        raise LayoutError(path, f"one {LABEL_LIST}; there are several: {', '.join(lists[:3])}")
    if lists:
        home = lists[0].removesuffix(LABEL_LIST).rstrip("/")
        files = files.below(home) if home else files
        is_cropped, rows = _read_official(path / home, files)
    else:
        rows = _read_folders(path, files, names)
    return Index(
        name="rafdb",
        root=path,
        labels=BASIC_EXPRESSIONS,
        samples=hold_out_validation(map(_sample, rows), HELD_OUT),
        license=LICENSE,
        is_cropped=is_cropped,
        source=files,
    )


def _sample(row: _Row) -> Sample:
    label = BASIC_EXPRESSIONS.index(row.expression)
    return Sample(
        id=row.id,
        split=row.split,
        label=label,
        label_distribution=one_hot(label, len(BASIC_EXPRESSIONS)),
        groups=row.groups,
        landmarks_xy=row.landmarks_xy,
        line=row.line,
    )


def _read_official(path: Path, files: Files) -> tuple[bool, list[_Row]]:
    """Whether the images are the aligned ones, and a row for every line of the label list."""
    names = set(files.names())
    folders = [folder for folder in ("aligned", "original") if _has_images(names, f"Image/{folder}/")]
    if not folders:
        raise LayoutError(
            path / "Image",
            "images in Image/aligned/ or Image/original/; unpack the archives that stand there",
        )
    is_aligned = folders[0] == "aligned"
    file = path / LABEL_LIST
    rows: list[_Row] = []
    for line, text in enumerate(files.read(LABEL_LIST).decode("utf-8", "replace").splitlines(), start=1):
        if text.strip():
            rows.append(_parse_line(path, files, names, text.split(), line, is_aligned))
    if not rows:
        raise LayoutError(file, "lines like `train_00001.jpg 5`; it is empty")
    firsts: dict[str, int | None] = {}
    for row in rows:
        if firsts.setdefault(row.id, row.line) != row.line:
            raise AnnotationError(file, row.line or 0, f"{row.id} stands in line {firsts[row.id]} already.")
    return is_aligned, rows


def _has_images(names: set[str], folder: str) -> bool:
    return any(name.startswith(folder) and name.lower().endswith(IMAGE_SUFFIXES) for name in names)


def _parse_line(
    path: Path, files: Files, names: set[str], cells: list[str], line: int, is_aligned: bool
) -> _Row:
    """A line of the label list, `train_00001.jpg 5`, with the image's annotation where there is one."""
    split = cells[0].split("_", 1)[0]
    is_known = len(cells) == 2 and split in ("train", "test") and cells[1] in set("1234567")
    if not is_known:
        problem = (
            f"is {' '.join(cells)[:80]!r}, not like `train_00001.jpg 5` with train or test and a class 1..7."
        )
        raise AnnotationError(path / LABEL_LIST, line, problem)
    stem, dot, suffix = cells[0].rpartition(".")
    image = f"Image/aligned/{stem}_aligned{dot}{suffix}" if is_aligned else f"Image/original/{cells[0]}"
    note = f"Annotation/manual/{stem}_manu_attri.txt"
    groups, landmarks = _parse_note(files.read(note)) if note in names else ({}, None)
    expression = RAFDB_CLASSES[int(cells[1]) - 1]
    return _Row(image, split, expression, line, groups, None if is_aligned else landmarks)


def _parse_note(data: bytes) -> tuple[dict[str, str], tuple[tuple[float, float], ...] | None]:
    """The groups, and the landmarks in mien's order: five lines `x y`, then gender, race and age group.

    Of a note that reads otherwise, nothing: labels do not depend on it.
    """
    lines = [text.split() for text in data.decode("utf-8", "replace").splitlines() if text.strip()]
    try:
        points = np.array(lines[:5], dtype=float).reshape(5, 2)
        [gender], [race], [age] = lines[5:]
        groups = {
            name: dict(zip("01234", words, strict=False))[code]
            for name, words, code in (
                ("gender", GENDERS, gender),
                ("race", RACES, race),
                ("age", AGES, age),
            )
        }
    except (ValueError, KeyError):
        return {}, None
    if not np.isfinite(points).all():
        return {}, None
    return groups, tuple((float(x), float(y)) for x, y in _subjects_right_first(points))


def _subjects_right_first(points: np.ndarray) -> np.ndarray:
    """Eyes, nose, mouth corners (5, 2) with the subject's right of each pair first, whatever order they came in.

    With the face's own down (from the eyes to the mouth) as axis, the subject's right lies to the image's left.
    """
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    for pair in (slice(0, 2), slice(3, 5)):
        across = points[pair][1] - points[pair][0]
        if across[0] * down[1] - across[1] * down[0] < 0:
            points[pair] = points[pair][::-1].copy()
    return points


def _read_folders(path: Path, files: Files, names: list[str]) -> list[_Row]:
    """The rows of both layouts with numbered folders; which one it is, the numbers 0 and 7 tell."""
    matches = [match for name in names if (match := _IN_CLASS.fullmatch(name)) and _is_image(name)]
    homes = sorted({match["home"] for match in matches})
    if len(homes) != 1:
        raise LayoutError(path, f"{LAYOUT}; there are several: {', '.join(homes[:3])}" if homes else LAYOUT)
    numbers = {match["number"] for match in matches}
    tables = [name for name in names if name.split("/")[-1] in ("train_labels.csv", "test_labels.csv")]
    is_repacked = "7" in numbers or (bool(tables) and "0" not in numbers)
    if is_repacked == ("0" in numbers):
        problem = (
            "the folders 0 and 7 are both there" if is_repacked else "without 0 and 7 the classes are unclear"
        )
        raise LayoutError(path / homes[0], f"{LAYOUT}; {problem}")
    if is_repacked:
        _check_tables(
            path, files, tables, {f"{match['split']}/{match['file']}": match["number"] for match in matches}
        )
    classes = (
        dict(enumerate(RAFDB_CLASSES, start=1)) if is_repacked else dict(enumerate(EFFICIENTFACE_CLASSES))
    )
    return [_Row(match[0], match["split"], classes[int(match["number"])]) for match in matches]


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _check_tables(path: Path, files: Files, tables: list[str], numbers: Mapping[str, str]) -> None:
    """Refuse `image,label` tables that say otherwise than the folders (`train/NAME` and its number)."""
    for table in tables:
        split = table.split("/")[-1].removesuffix("_labels.csv")
        for line, row in csv_rows(files.read(table), path / table):
            cells = [cell.strip() for cell in row]
            if line == 1 and cells[0] == "image":
                continue
            found = numbers.get(f"{split}/{cells[0]}")
            if found is None:
                problem = (
                    f"{cells[0]} is not in the folders of {split}: the data set is not whole. "
                    "Unpack it anew, or remove the table to read what is there."
                )
                raise AnnotationError(path / table, line, problem)
            if cells[1:] != [found]:
                problem = (
                    f"{cells[0]} is {','.join(cells[1:])!r} here and in folder {found}. "
                    "Unpack the data set anew, or correct the one that is wrong."
                )
                raise AnnotationError(path / table, line, problem)
