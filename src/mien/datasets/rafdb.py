"""RAF-DB adapter: its seven basic expressions in the official, the repacked and the EfficientFace layout.

Source:
    Li, Deng, Du: Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild
    (CVPR 2017). The data is available from its owners on request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mien.datasets.files import Files, dataset_path, open_files, read_csv_rows, read_labels
from mien.datasets.index import Index, Sample, check_listed_once, hold_out_validation
from mien.emotions import BASIC_EXPRESSIONS
from mien.errors import AnnotationError, LayoutError
from mien.media_formats import IMAGE_SUFFIXES

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""Classes 1..7 of the official label list and of the folders in which RAF-DB is commonly repackaged."""

EFFICIENTFACE_CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
"""Folders 0..6 of RAF-DB as prepared for EfficientFace."""

VALIDATION_FRACTION = 0.1
"""Fraction of the training images of each class that form the validation split."""

ATTRIBUTES = {
    "gender": ("male", "female", "unsure"),
    "race": ("Caucasian", "African-American", "Asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
"""Meaning of the numbers in the official annotations, in the order of their lines; ages in years."""

LICENSE = "research only; ask the owners of RAF-DB"
LABEL_LIST = "EmoLabel/list_patition_label.txt"
LAYOUT = (
    f"basic/{LABEL_LIST} with basic/Image/aligned/ or basic/Image/original/; "
    "DATASET/{train,test}/{1..7}/; or {train,test}/{0..6}/ as in EfficientFace"
)
_IN_CLASS = re.compile(r"(?P<root>(?:.*/)?)(?P<split>train|test)/(?P<number>[0-7])/(?P<file>[^/]+)")


def read_rafdb(path: str | Path) -> Index:
    """Read RAF-DB (basic) in any of three layouts.

    - Official: `basic/EmoLabel/list_patition_label.txt` with the aligned images, or else the originals: photographs
      with five landmarks from `basic/Annotation/manual/`. The annotations also give the groups gender, race and age as
      perceived by the annotators.
    - Repacked: `DATASET/{train,test}/{1..7}/`; `train_labels.csv` and `test_labels.csv`, if present, must agree.
    - EfficientFace: `{train,test}/{0..6}/`, with another order of the classes.

    RAF-DB has no validation split: 10 % of each class of the training split become "valid" (see
    `hold_out_validation`), the same images in all layouts that keep the original file names.

    Args:
        path: folder or zip archive; the files may be in a subfolder.

    Raises:
        LayoutError: the expected files are missing, or exist several times.
        AnnotationError: a line of a label file is malformed or names a missing image.
    """
    path = dataset_path(path)
    files = open_files(path)
    names = files.names()
    lists = [name for name in names if f"/{name}".endswith(f"/{LABEL_LIST}")]
    is_cropped = True
    if len(lists) > 1:
        raise LayoutError(path, f"one {LABEL_LIST}; found several: {', '.join(lists[:3])}")
    if lists:
        root = lists[0].removesuffix(LABEL_LIST).rstrip("/")
        files = files.subfolder(root) if root else files
        is_cropped, samples = _read_official(path / root, files)
    else:
        samples = _read_folders(path, files, names)
    return Index(
        name="rafdb",
        root=path,
        labels=BASIC_EXPRESSIONS,
        samples=hold_out_validation(samples, VALIDATION_FRACTION),
        license=LICENSE,
        title="RAF-DB (Li, Deng, Du, CVPR 2017)",
        is_cropped=is_cropped,
        source=files,
    )


def _read_official(path: Path, files: Files) -> tuple[bool, list[Sample]]:
    """Return whether the aligned images are present, and a sample for each line of the label list."""
    names = set(files.names())
    folders = [
        folder
        for folder in ("aligned", "original")
        if any(name.startswith(f"Image/{folder}/") and _is_image(name) for name in names)
    ]
    if not folders:
        raise LayoutError(
            path / "Image", "images in Image/aligned/ or Image/original/; unpack the archives in this folder"
        )
    is_aligned = folders[0] == "aligned"
    file = path / LABEL_LIST
    text = read_labels(files, LABEL_LIST, file).decode("utf-8", "replace")
    samples = [
        _parse_line(path, files, names, line.split(), number, is_aligned)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    if not samples:
        raise LayoutError(file, "lines like `train_00001.jpg 5`; the file is empty")
    check_listed_once(file, samples)
    return is_aligned, samples


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _parse_line(path: Path, files: Files, names: set[str], cells: list[str], line: int, is_aligned: bool) -> Sample:
    """Parse a line of the label list, `train_00001.jpg 5`, and the annotation of its image if there is one."""
    split = cells[0].split("_", 1)[0]
    is_valid = len(cells) == 2 and split in ("train", "test") and cells[1] in set("1234567")
    if not is_valid:
        raise AnnotationError(
            path / LABEL_LIST,
            line,
            f"is {' '.join(cells)[:80]!r}, not like `train_00001.jpg 5` with train or test and a class 1..7.",
        )
    stem, dot, suffix = cells[0].rpartition(".")
    image = f"Image/aligned/{stem}_aligned{dot}{suffix}" if is_aligned else f"Image/original/{cells[0]}"
    annotation = f"Annotation/manual/{stem}_manu_attri.txt"
    groups, landmarks = _read_annotation(files, annotation) if annotation in names else ({}, None)
    landmarks_xy = None if is_aligned else landmarks
    sample = Sample(id=image, split=split, groups=groups, landmarks_xy=landmarks_xy, line=line)
    return sample.with_label(CLASSES[int(cells[1]) - 1], BASIC_EXPRESSIONS)


def _read_annotation(files: Files, name: str) -> tuple[dict[str, str], tuple[tuple[float, float], ...] | None]:
    """Read five lines `x y`, then gender, race and age group; return the groups and the landmarks in mien's order.

    A malformed annotation and a broken link count as missing, because labels do not depend on them.
    """
    try:
        text = files.read(name).decode("utf-8", "replace")
        lines = [line.split() for line in text.splitlines() if line.strip()]
        points = np.array(lines[:5], dtype=float).reshape(5, 2)
        codes = [code for [code] in lines[5:]]
        groups = {
            name: {str(number): value for number, value in enumerate(values)}[code]
            for (name, values), code in zip(ATTRIBUTES.items(), codes, strict=True)
        }
    except (ValueError, KeyError):
        return {}, None
    if not np.isfinite(points).all():
        return {}, None
    return groups, tuple((float(x), float(y)) for x, y in _sort_pairs(points))


def _sort_pairs(points: np.ndarray) -> np.ndarray:
    """Order eyes and mouth corners of five points (5, 2) so that the subject's right one comes first.

    Along the axis from the eyes to the mouth, the subject's right side is on the left of the image.
    """
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    for pair in (slice(0, 2), slice(3, 5)):
        across = points[pair][1] - points[pair][0]
        if across[0] * down[1] - across[1] * down[0] < 0:
            points[pair] = points[pair][::-1].copy()
    return points


def _read_folders(path: Path, files: Files, names: list[str]) -> list[Sample]:
    """Read a layout of numbered folders; a folder 7 marks the repacked one and a folder 0 that of EfficientFace."""
    matches = [match for name in names if (match := _IN_CLASS.fullmatch(name)) and _is_image(name)]
    roots = sorted({match["root"] for match in matches})
    if len(roots) != 1:
        raise LayoutError(path, f"{LAYOUT}; found several: {', '.join(roots[:3])}" if roots else LAYOUT)
    numbers = {match["number"] for match in matches}
    tables = [name for name in names if name.split("/")[-1] in ("train_labels.csv", "test_labels.csv")]
    is_repacked = "7" in numbers or (bool(tables) and "0" not in numbers)
    if is_repacked == ("0" in numbers):
        problem = "the folders 0 and 7 both exist" if is_repacked else "without 0 and 7 the classes are ambiguous"
        raise LayoutError(path / roots[0], f"{LAYOUT}; {problem}")
    if is_repacked:
        folder_of = {f"{match['split']}/{match['file']}": match["number"] for match in matches}
        _check_tables(path, files, tables, folder_of)
        classes = dict(enumerate(CLASSES, start=1))
    else:
        classes = dict(enumerate(EFFICIENTFACE_CLASSES))
    return [
        Sample(id=match[0], split=match["split"]).with_label(classes[int(match["number"])], BASIC_EXPRESSIONS)
        for match in matches
    ]


def _check_tables(path: Path, files: Files, tables: list[str], folder_of: Mapping[str, str]) -> None:
    """Raise for tables of `image,label` that differ from the folders (number of each `train/NAME`)."""
    for table in tables:
        split = table.split("/")[-1].removesuffix("_labels.csv")
        for line, row in read_csv_rows(read_labels(files, table, path / table), path / table):
            cells = [cell.strip() for cell in row]
            if line == 1 and cells[0] == "image":
                continue
            folder = folder_of.get(f"{split}/{cells[0]}")
            if folder is None:
                problem = (
                    f"{cells[0]} is missing in the folders of {split}: the data set is incomplete. "
                    "Unpack it again, or remove the table to read the images that exist."
                )
                raise AnnotationError(path / table, line, problem)
            if cells[1:] != [folder]:
                problem = (
                    f"{cells[0]} is {','.join(cells[1:])!r} here but in folder {folder}. "
                    "Unpack the data set again, or correct the wrong one."
                )
                raise AnnotationError(path / table, line, problem)
