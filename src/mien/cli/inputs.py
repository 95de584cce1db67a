"""Image inputs: expands files, folders, glob patterns and standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from mien.addresses import path_problem, public_name
from mien.cli.messages import shorten
from mien.errors import InputError, MienError, reason
from mien.media_formats import IMAGE_SUFFIXES, UNREADABLE_SUFFIXES, VIDEO_SUFFIXES


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


@dataclass
class Found:
    """Images that were found, and what was not read.

    Attributes:
        images: in the order of the arguments.
        failures: each argument without images, and each folder that could not be searched, with the reason.
        videos: videos inside folders, which are left out.
        links: links to folders inside folders, which are not followed.
    """

    images: list[ImageInput] = field(default_factory=list)
    failures: list[tuple[str, MienError]] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Append what was found for another argument."""
        self.images += other.images
        self.failures += other.failures
        self.videos += other.videos
        self.links += other.links

    @property
    def notes(self) -> list[str]:
        """One line for each kind of files that were left out."""
        kinds = ((self.videos, "videos", "mien video reads them"), (self.links, "linked folders", "give them by name"))
        return [f"left out {noun} ({len(names)}): {shorten(names)}; {hint}" for names, noun, hint in kinds if names]


def find_images(arguments: Iterable[str], *, skip: Path | None = None) -> Found:
    """Expand paths, folders, glob patterns and `-` to images, in order.

    Folders and patterns select files by suffix (`IMAGE_SUFFIXES` and `UNREADABLE_SUFFIXES`). A file given by its path
    is always included, even if it does not exist; the error is raised when it is read.

    Args:
        arguments: command-line arguments.
        skip: output folder, left out of the folders and patterns that contain it.

    Raises:
        InputError: `-` is given more than once.
    """
    arguments = list(arguments)
    if arguments.count("-") > 1:
        raise InputError("- is given twice; standard input can be read only once.")
    found = Found()
    skip = Path(os.path.realpath(skip)) if skip else None
    for argument in arguments:
        own = Found()
        try:
            problem = _expand(argument, skip, own)
            if not own.images and not own.failures:
                raise InputError(problem)
        except MienError as error:
            own.failures.append((public_name(argument), error))
        found.add(own)
    return found


def check_no_options(arguments: Iterable[str], command: str) -> None:
    """Raise `InputError` for a misspelled option among the arguments; `-` is standard input, and a file may be `-a`."""
    for argument in arguments:
        if argument.startswith("-") and argument != "-" and not _try_stat(Path(argument).exists):
            raise InputError(f"unknown option {argument}. Try: mien {command} --help")


def _expand(argument: str, skip: Path | None, found: Found) -> str:
    """Add the images of an argument; return the error message if there are none."""
    expected = "expected JPEG, PNG, WebP, TIFF or another image format."
    if argument == "-":
        if sys.stdin is None:
            raise InputError("standard input is closed; give files.")
        found.images.append(ImageInput("-", sys.stdin.buffer.read(), Path("stdin.png")))
        return ""
    path = Path(argument)
    # Path("") is the current folder
    is_present = bool(argument) and _try_stat(path.exists)
    if not is_present and (problem := path_problem(argument)):
        raise InputError(problem)
    if is_present and _try_stat(path.is_dir):
        _walk(path, path, _skip_inside(skip, path), found)
        return f"no images found in {argument}; {_found_instead(found) or expected}"
    if glob.has_magic(argument) and not is_present:
        _match(argument, skip, found)
        return f"no images match {argument}; {_found_instead(found) or expected}"
    found.images.append(ImageInput(argument, path, Path(path.name)))
    return ""


def _found_instead(found: Found) -> str:
    return "; ".join(found.notes)


def _match(pattern: str, skip: Path | None, found: Found) -> None:
    # the folders before the first wildcard
    root = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1]))
    skip = _skip_inside(skip, root)
    matches = Found()
    for path in _glob(pattern):
        if _try_stat(path.is_dir) and path.is_symlink():
            matches.links.append(str(path))
        elif _try_stat(path.is_dir):
            _walk(path, root, skip, matches)
        else:
            _select(path, root, skip, matches)
    found.images += {image.name: image for image in matches.images}.values()
    found.failures += dict(matches.failures).items()
    found.videos += dict.fromkeys(matches.videos)
    found.links += dict.fromkeys(matches.links)


def _glob(pattern: str) -> list[Path]:
    """Return the sorted matches of a pattern; of several paths to one file, as in a loop of links, the shortest."""
    paths: dict[Path, Path] = {}
    matches = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    for path in sorted(matches, key=lambda path: (len(path.parts), str(path))):
        paths.setdefault(Path(os.path.realpath(path.parent), path.name), path)
    return sorted(paths.values(), key=str)


def _try_stat(check: Callable[[], bool], *, default: bool = False) -> bool:
    """Return the result of a path check, or `default` if the system refuses it (name too long, no permission)."""
    try:
        return check()
    except OSError:
        return default


def _skip_inside(skip: Path | None, folder: Path) -> Path | None:
    """Return the folder to skip if it is inside `folder`; a folder that is searched on purpose is not skipped."""
    return skip if skip is not None and Path(os.path.realpath(folder)) in skip.parents else None


def _walk(folder: Path, root: Path, skip: Path | None, found: Found) -> None:
    """Add the images below a folder, sorted, without hidden files and folders."""

    def fail(error: OSError) -> None:
        name = str(error.filename)
        found.failures.append((name, InputError(f"{name} cannot be searched: {reason(error)}.")))

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.links += [str(path) for name in folders if _try_stat((path := Path(parent, name)).is_symlink)]
        for name in sorted(files):
            if not name.startswith("."):
                _select(Path(parent, name), root, skip, found)


def _select(path: Path, root: Path, skip: Path | None, found: Found) -> None:
    """Add a file if its suffix is that of an image or video and it is outside the skipped folder."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES + UNREADABLE_SUFFIXES + VIDEO_SUFFIXES:
        return
    # a broken link and a file without permission are included: reading them reports the reason
    if not _try_stat(path.is_symlink) and not _try_stat(path.is_file, default=True):
        return
    if skip is not None and Path(os.path.realpath(path)).is_relative_to(skip):
        return
    if suffix in VIDEO_SUFFIXES:
        found.videos.append(str(path))
    else:
        found.images.append(ImageInput(str(path), path, path.relative_to(root)))
