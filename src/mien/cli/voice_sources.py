"""Sound files on the command line: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.addresses import path_problem
from mien.errors import AudioReadError, reason
from mien.media_formats import AUDIO_SUFFIXES, VIDEO_SUFFIXES

Source = tuple[str, AudioReadError | None]
"""Name of a file, or of an argument without files and the reason."""


def expand_sounds(arguments: Sequence[str]) -> list[Source]:
    """Return the files of the arguments, and an error in place of an argument without files.

    Folders are searched with their subfolders for audio and video files, in the order of their names, without hidden
    ones. Links to folders are not followed. A file that is given by its path is always included.
    """
    return [source for argument in arguments for source in _expand(argument)]


def _expand(argument: str) -> Iterator[Source]:
    """Yield the files of one argument, or errors."""
    # os.path returns False for a path out of reach, where Path raises: reading the file reports the reason
    is_pattern = glob.has_magic(argument) and not (os.path.exists(argument) or path_problem(argument))  # noqa: PTH110
    matches = sorted(glob.glob(argument, recursive=True)) if is_pattern else [argument]  # noqa: PTH207
    if is_pattern:
        matches = [match for match in matches if os.path.isdir(match) or _is_sound(match)]  # noqa: PTH112
    if not matches:
        yield argument, AudioReadError(f"no audio files match {argument}.")
    for match in matches:
        if os.path.isdir(match):  # noqa: PTH112
            yield from _search(match)
        else:
            yield match, None


def _search(folder: str) -> Iterator[Source]:
    """Yield the audio and video files below a folder, and an error for each folder that cannot be searched."""
    errors: list[Source] = []

    def fail(error: OSError) -> None:
        name = str(error.filename)
        errors.append((name, AudioReadError(f"{name} cannot be searched: {reason(error)}.")))

    is_empty = True
    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and _is_sound(name):
                is_empty = False
                yield str(Path(parent, name)), None
    yield from errors
    if is_empty and not errors:
        expected = "expected WAV, MP3, FLAC or other audio, or videos with sound."
        yield folder, AudioReadError(f"no audio found in {folder}; {expected}")


def _is_sound(name: str) -> bool:
    return Path(name).suffix.lower() in AUDIO_SUFFIXES + VIDEO_SUFFIXES
