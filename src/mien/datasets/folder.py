"""A folder per class: `<root>/{train,valid,test}/<class>/*.jpg`, or `<root>/<class>/*.jpg`."""

from __future__ import annotations

from pathlib import Path

from mien.datasets.index import (
    ANY_SPLIT,
    SPLIT_NAMES,
    Files,
    Index,
    Sample,
    one_hot,
    open_files,
    unique_labels,
)
from mien.emotions import EXPRESSIONS, canonical_name
from mien.errors import LayoutError
from mien.imaging import IMAGE_SUFFIXES

CLASS_FOLDERS = f"folders named {', '.join(EXPRESSIONS)}, which may stand in train, valid and test"


def read_folder(path: str | Path, *, is_cropped: bool = True) -> Index:
    """Read a data set that has one folder for each class, in a folder or a zip.

    Without folders for the splits every image belongs to whichever split is asked for. Classes are named as
    `mien.emotions.canonical_name` reads them ("Happy", "sad"); "val" and "validation" mean "valid". Files
    that are no images by their ending, and images beside the folders at the top, are passed over.

    Args:
        path: the folder or zip; everything may stand below one top folder, or below several nested ones.
        is_cropped: whether each image is one face crop, or a whole photograph.

    Raises:
        LayoutError: a folder is no class, an image is in none, or there is no image at all.
    """
    path = Path(path)
    files: Files = open_files(path)
    names = [name for name in files.names() if name.lower().endswith(IMAGE_SUFFIXES)]
    if not names:
        raise LayoutError(path, f"images in {CLASS_FOLDERS}; there is no image")
    inside = Path()
    while (top := _top_folder(names)) is not None:
        files, inside = files.below(top), inside / top
        names = [name.removeprefix(f"{top}/") for name in names if name.startswith(f"{top}/")]
    in_folders = [name for name in names if "/" in name]
    placed = [(name, *_split_and_class(path / inside, name)) for name in in_folders or names]
    labels = unique_labels(expression for _, _, expression in placed)
    return Index(
        name="folder",
        root=path,
        labels=labels,
        samples=tuple(_sample(*place, labels) for place in placed),
        license="not stated",
        is_cropped=is_cropped,
        source=files,
    )


def _top_folder(names: list[str]) -> str | None:
    """The one folder that holds all images but stray ones, when it is no class, no split, and holds folders."""
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    if len(tops) != 1:
        return None
    [top] = tops
    is_known = top.strip().lower() in SPLIT_NAMES or canonical_name(top) is not None
    return None if is_known or not any(name.count("/") > 1 for name in names) else top


def _split_and_class(path: Path, name: str) -> tuple[str, str]:
    *folders, _ = name.split("/")
    split = SPLIT_NAMES.get(folders[0].strip().lower()) if folders else None
    inner = folders if split is None else folders[1:]
    if not inner:
        raise LayoutError(path / name, f"images only in {CLASS_FOLDERS}")
    expression = canonical_name(inner[0])
    if expression is None:
        raise LayoutError(path / "/".join(folders[: len(folders) - len(inner) + 1]), CLASS_FOLDERS)
    return split or ANY_SPLIT, expression


def _sample(name: str, split: str, expression: str, labels: tuple[str, ...]) -> Sample:
    label = labels.index(expression)
    return Sample(id=name, split=split, label=label, label_distribution=one_hot(label, len(labels)))
