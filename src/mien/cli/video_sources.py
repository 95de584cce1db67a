"""Video sources on the command line: patterns, still images, and a folder for the files of each."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mien.addresses import public_name
from mien.errors import InputError
from mien.media_formats import IMAGE_SUFFIXES


def expand_sources(arguments: Sequence[str]) -> list[str]:
    """Return the sources, with the files that a pattern matches."""
    sources: list[str] = []
    for argument in arguments:
        is_pattern = glob.has_magic(argument) and "://" not in argument and not Path(argument).exists()
        matches = sorted(glob.glob(argument, recursive=True)) if is_pattern else [argument]  # noqa: PTH207
        if not matches:
            raise InputError(f"no videos match {argument}.")
        sources += matches
    if not sources:
        raise InputError("no video given; expected files, a URL, a camera, or a folder of images.")
    return sources


def check_source(source: str) -> None:
    """Raise `InputError` for a still image, which would be a video of one frame."""
    path = Path(source)
    # unlike Path.is_file, it is False without permission: reading the source reports that
    if path.suffix.lower() not in IMAGE_SUFFIXES or not os.path.isfile(path):  # noqa: PTH113
        return
    from PIL import Image

    try:
        with Image.open(path) as image:
            is_still = not getattr(image, "is_animated", False)
    except Exception:  # reading it reports the reason
        return
    if is_still or image.format not in ("GIF", "PNG", "WEBP", "AVIF"):
        raise InputError(f"{source} is an image; give it to mien predict.")


def name_folders(
    sources: Iterable[str], items: Iterable[str], known: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the name of a folder for each video: the known one, or one after the video that no other video has.

    Args:
        sources: the videos.
        items: unique names of the videos, the keys of the result.
        known: folders that videos have, by their unique names; also of videos that are not among the sources.
    """
    folders = dict(known)
    used = {folder.casefold() for folder in known.values()}
    for source, item in zip(sources, items, strict=True):
        if item in folders:
            continue
        name = re.sub(r"[^\w.\- ]+", "-", Path(public_name(source)).stem).strip(" .-") or "video"
        number = 1
        unique = name
        while unique.casefold() in used:
            number += 1
            unique = f"{name}-{number}"
        used.add(unique.casefold())
        folders[item] = unique
    return folders


def number_names(names: Iterable[str]) -> list[str]:
    """Return the names, with a number where one is repeated.

    Example:
        >>> number_names(["a.mp4", "b.mp4", "a.mp4"])
        ['a.mp4', 'b.mp4', 'a.mp4 (2)']
    """
    counts: Counter[str] = Counter()
    numbered = []
    for name in names:
        counts[name] += 1
        numbered.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return numbered
