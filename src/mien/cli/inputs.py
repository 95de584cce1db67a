"""From the words on the command line to the pictures they mean."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError, MienError
from mien.imaging import PICTURE_SUFFIXES, UNREAD_SUFFIXES


@dataclass(frozen=True)
class Picture:
    """One picture to be read.

    Attributes:
        name: what the user knows it by: the path as found, or `-`.
        source: the path, or the bytes of standard input.
        relative: where its annotated copy goes inside the output folder.
    """

    name: str
    source: Path | bytes
    relative: Path


def find_pictures(
    words: Iterable[str], *, skip: Path | None = None
) -> tuple[list[Picture], list[tuple[str, MienError]]]:
    """The pictures that paths, folders, patterns and `-` mean, in order.

    In folders and patterns, files that end in one of `PICTURE_SUFFIXES` or `UNREAD_SUFFIXES` count; a file named by
    itself always does.

    Args:
        words: of the command line.
        skip: a folder that is left out of the folders and patterns that it lies in: the one that results are
            written to.

    Returns:
        The pictures, and the words that mean none, each with the reason. A missing file is among the former:
        reading it tells why.
    """
    pictures: list[Picture] = []
    empty: list[tuple[str, MienError]] = []
    skipped = Path(os.path.realpath(skip)) if skip else None
    for word in words:
        try:
            pictures += _expand(word, skipped)
        except MienError as error:
            empty.append((word, error))
    return pictures, empty


def _expand(word: str, skipped: Path | None) -> list[Picture]:
    if word == "-":
        return [Picture("-", sys.stdin.buffer.read(), Path("stdin.png"))]
    path = Path(word)
    if _ask(path.is_dir):
        found = list(_walk(path, path, _if_below(skipped, path)))
        if not found:
            raise InputError(f"{word}: no pictures in this folder.")
        return found
    if glob.has_magic(word) and not _ask(path.exists):
        found = list(_match(word, skipped))
        if not found:
            raise InputError(f"{word}: no picture matches this pattern.")
        return found
    return [Picture(word, path, Path(path.name))]


def _match(pattern: str, skipped: Path | None) -> Iterator[Picture]:
    root = Path(*_fixed_parts(Path(pattern)))
    skipped = _if_below(skipped, root)
    seen: set[str] = set()
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        path = Path(match)
        found = _walk(path, root, skipped) if _ask(path.is_dir) else _if_picture(path, root, skipped)
        for picture in found:
            if picture.name not in seen:
                seen.add(picture.name)
                yield picture


def _ask(claim: Callable[[], bool], *, otherwise: bool = False) -> bool:
    """What a path says of itself, or `otherwise` when the system refuses: a name too long, no permission."""
    try:
        return claim()
    except OSError:
        return otherwise


def _if_below(skipped: Path | None, folder: Path) -> Path | None:
    """The folder to skip when it lies inside `folder`; who searches it, or a part of it, means its pictures."""
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


def _walk(folder: Path, root: Path, skipped: Path | None) -> Iterator[Picture]:
    """Pictures below a folder, sorted, hidden files and folders left out."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield from _if_picture(Path(parent, name), root, skipped)


def _if_picture(path: Path, root: Path, skipped: Path | None) -> Iterator[Picture]:
    if path.suffix.lower() not in PICTURE_SUFFIXES + UNREAD_SUFFIXES or not _ask(
        path.is_file, otherwise=True
    ):
        return  # one that may not be looked at stays: reading it tells why
    if skipped is not None and Path(os.path.realpath(path)).is_relative_to(skipped):
        return
    yield Picture(str(path), path, path.relative_to(root))
