"""From the words on the command line to the images they mean."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError, MienError
from mien.imaging import HEIC_SUFFIXES, IMAGE_SUFFIXES


@dataclass(frozen=True)
class ImageInput:
    """One image to be read.

    Attributes:
        name: what the user knows it by: the path as found, or `-`.
        source: the path, or the bytes of standard input.
        relative: where its annotated copy goes inside the output folder.
    """

    name: str
    source: Path | bytes
    relative: Path


def find_images(
    words: Iterable[str], *, skip: Path | None = None
) -> tuple[list[ImageInput], list[tuple[str, MienError]]]:
    """The images that paths, folders, patterns and `-` mean, in order.

    In folders and patterns, files that end in one of `IMAGE_SUFFIXES` or `HEIC_SUFFIXES` count; a file named by
    itself always does.

    Args:
        words: of the command line.
        skip: a folder that is left out of the folders and patterns that it lies in: the one that results are
            written to.

    Returns:
        The images, and the words that mean none, each with the reason. A missing file is among the former:
        reading it tells why.
    """
    images: list[ImageInput] = []
    empty: list[tuple[str, MienError]] = []
    skipped = Path(os.path.realpath(skip)) if skip else None
    for word in words:
        try:
            images += _expand(word, skipped)
        except MienError as error:
            empty.append((word, error))
    return images, empty


def _expand(word: str, skipped: Path | None) -> list[ImageInput]:
    if word == "-":
        return [ImageInput("-", sys.stdin.buffer.read(), Path("stdin.png"))]
    path = Path(word)
    if _ask(path.is_dir):
        found = list(_walk(path, path, _if_below(skipped, path)))
        if not found:
            raise InputError(f"{word}: no images in this folder.")
        return found
    if glob.has_magic(word) and not _ask(path.exists):
        found = list(_match(word, skipped))
        if not found:
            raise InputError(f"{word}: no image matches this pattern.")
        return found
    return [ImageInput(word, path, Path(path.name))]


def _match(pattern: str, skipped: Path | None) -> Iterator[ImageInput]:
    root = Path(*_fixed_parts(Path(pattern)))
    skipped = _if_below(skipped, root)
    seen: set[str] = set()
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        path = Path(match)
        found = _walk(path, root, skipped) if _ask(path.is_dir) else _if_image(path, root, skipped)
        for image in found:
            if image.name not in seen:
                seen.add(image.name)
                yield image


def _ask(claim: Callable[[], bool], *, otherwise: bool = False) -> bool:
    """What a path says of itself, or `otherwise` when the system refuses: a name too long, no permission."""
    try:
        return claim()
    except OSError:
        return otherwise


def _if_below(skipped: Path | None, folder: Path) -> Path | None:
    """The folder to skip when it lies inside `folder`; who searches it, or a part of it, means its images."""
    searched = Path(os.path.realpath(folder))
    return skipped if skipped is not None and searched in skipped.parents else None


def _fixed_parts(pattern: Path) -> list[str]:
    """The folders of a pattern before its first wildcard."""
    parts: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts


def _walk(folder: Path, root: Path, skipped: Path | None) -> Iterator[ImageInput]:
    """Images below a folder, sorted, hidden files and folders left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield from _if_image(Path(parent, name), root, skipped)


def _if_image(path: Path, root: Path, skipped: Path | None) -> Iterator[ImageInput]:
    if path.suffix.lower() not in IMAGE_SUFFIXES + HEIC_SUFFIXES or not _ask(path.is_file, otherwise=True):
        return  # one that may not be looked at stays: reading it tells why
    if skipped is not None and Path(os.path.realpath(path)).is_relative_to(skipped):
        return
    yield ImageInput(str(path), path, path.relative_to(root))
