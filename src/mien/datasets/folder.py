"""A folder per class: `<root>/{train,valid,test}/<class>/*.jpg`, or `<root>/<class>/*.jpg`."""

from __future__ import annotations

from pathlib import Path

from mien.datasets.index import (
    ANY_SPLIT,
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    Files,
    Index,
    Sample,
    labels_present,
    one_hot,
    only_top_folder,
    open_files,
)
from mien.emotions import EXPRESSIONS, canonical_name
from mien.errors import LayoutError

CLASS_FOLDERS = f"folders named {', '.join(EXPRESSIONS)}, which may stand in train, valid and test"


def read_folder(path: str | Path, *, is_cropped: bool = True) -> Index:
    """Read a data set that has one folder for each class, in a folder or a zip.

    Without folders for the splits every image belongs to whichever split is asked for. Classes are named as
    `mien.emotions.canonical_name` reads them ("Happy", "sad"); "val" and "validation" mean "valid". Files
    that are no pictures by their ending are passed over.

    Args:
        path: the folder or zip; everything may stand below one top folder.
        is_cropped: whether each image is one face crop, or a whole photograph.

    Raises:
        LayoutError: a folder is no class, a picture is in none, or there is no picture at all.
    """
    path = Path(path)
    files: Files = open_files(path)
    names = [name for name in files.names() if name.lower().endswith(IMAGE_SUFFIXES)]
    top = only_top_folder(names)
    if top is not None and top.strip().lower() not in SPLIT_NAMES and canonical_name(top) is None:
        below = [name[len(top) + 1 :] for name in names]
        if any("/" in name for name in below):
            files, names = files.below(top), below
    if not names:
        raise LayoutError(path, f"pictures in {CLASS_FOLDERS}; there is no picture")
    placed = [(name, *_split_and_class(path, name)) for name in names]
    labels = labels_present(expression for _, _, expression in placed)
    return Index(
        name="folder",
        root=path,
        labels=labels,
        samples=tuple(_sample(*place, labels) for place in placed),
        licence="not stated",
        is_cropped=is_cropped,
        source=files,
    )


def _split_and_class(path: Path, name: str) -> tuple[str, str]:
    *folders, _ = name.split("/")
    split = SPLIT_NAMES.get(folders[0].strip().lower()) if folders else None
    inner = folders if split is None else folders[1:]
    if not inner:
        raise LayoutError(path / name, f"pictures only in {CLASS_FOLDERS}")
    expression = canonical_name(inner[0])
    if expression is None:
        raise LayoutError(path / "/".join(folders[: len(folders) - len(inner) + 1]), CLASS_FOLDERS)
    return split or ANY_SPLIT, expression


def _sample(name: str, split: str, expression: str, labels: tuple[str, ...]) -> Sample:
    label = labels.index(expression)
    return Sample(id=name, split=split, label=label, label_distribution=one_hot(label, len(labels)))
