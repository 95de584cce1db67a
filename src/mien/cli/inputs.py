"""Image inputs: expands files, folders, glob patterns and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from mien.errors import InputError, MienError
from mien.imaging import HEIC_SUFFIXES, IMAGE_SUFFIXES


@dataclass(frozen=True)
class ImageInput:
    """One image to analyze.

    Attributes:
        name: name shown to the user: the path, or `-` for standard input.
        source: path, or the bytes of standard input.
        relative: path of the annotated copy inside the output folder.
    """

    name: str
    source: Path | bytes
    relative: Path


def find_images(
    arguments: Iterable[str], *, skip: Path | None = None
) -> tuple[list[ImageInput], list[tuple[str, MienError]]]:
    """Expand paths, folders, glob patterns and `-` to images, in order.

    Folders and patterns select files by suffix (`IMAGE_SUFFIXES` and `HEIC_SUFFIXES`). A file given by its path is
    always included, even if it does not exist; the error is raised when it is read.

    Args:
        arguments: command-line arguments.
        skip: output folder, left out of the folders and patterns that contain it.

    Returns:
        The images, and each argument without images together with the reason.
    """
    images: list[ImageInput] = []
    failures: list[tuple[str, MienError]] = []
    skip = Path(os.path.realpath(skip)) if skip else None
    for argument in arguments:
        try:
            images += _expand(argument, skip)
        except MienError as error:
            failures.append((argument, error))
    return images, failures


def _expand(argument: str, skip: Path | None) -> list[ImageInput]:
    if argument == "-":
        return [ImageInput("-", sys.stdin.buffer.read(), Path("stdin.png"))]
    path = Path(argument)
    if _try_stat(path.is_dir):
        images = list(_walk(path, path, _skip_inside(skip, path)))
        message = f"no images found in {argument}"
    elif glob.has_magic(argument) and not _try_stat(path.exists):
        images = _match(argument, skip)
        message = f"no images match {argument}"
    else:
        return [ImageInput(argument, path, Path(path.name))]
    if not images:
        raise InputError(f"{message}; expected JPEG, PNG, WebP, TIFF or another image format.")
    return images


def _match(pattern: str, skip: Path | None) -> list[ImageInput]:
    # the folders before the first wildcard
    root = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1]))
    skip = _skip_inside(skip, root)
    images: dict[str, ImageInput] = {}
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        path = Path(match)
        for image in _walk(path, root, skip) if _try_stat(path.is_dir) else _select(path, root, skip):
            images.setdefault(image.name, image)
    return list(images.values())


def _try_stat(check: Callable[[], bool], *, default: bool = False) -> bool:
    """Return the result of a path check, or `default` if the system refuses it (name too long, no permission)."""
    try:
        return check()
    except OSError:
        return default


def _skip_inside(skip: Path | None, folder: Path) -> Path | None:
    """Return the folder to skip if it is inside `folder`; a folder that is searched on purpose is not skipped."""
    return skip if skip is not None and Path(os.path.realpath(folder)) in skip.parents else None


def _walk(folder: Path, root: Path, skip: Path | None) -> Iterator[ImageInput]:
    """Yield the images below a folder, sorted, without hidden files and folders."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield from _select(Path(parent, name), root, skip)


def _select(path: Path, root: Path, skip: Path | None) -> Iterator[ImageInput]:
    """Yield a file if its suffix is that of an image and it is outside the skipped folder."""
    if path.suffix.lower() not in IMAGE_SUFFIXES + HEIC_SUFFIXES:
        return
    # a file without permission is included: reading it reports the reason
    if not _try_stat(path.is_file, default=True):
        return
    if skip is not None and Path(os.path.realpath(path)).is_relative_to(skip):
        return
    yield ImageInput(str(path), path, path.relative_to(root))
