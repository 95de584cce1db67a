"""Fingerprints of video sources: a source that has changed is not resumed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from mien.errors import VideoReadError
from mien.video.io.image_sequence import find_images
from mien.video.io.sources import is_address


def identify(source: str | os.PathLike[str]) -> list[int] | str | None:
    """Return size and modification time of a file, or a digest over names, sizes and times of an image sequence.

    None for a URL, a camera, a pipe, and for files out of reach.
    """
    if is_address(source):
        return None
    try:
        status = Path(source).stat()
        if not stat.S_ISDIR(status.st_mode):
            return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None
    except FileNotFoundError:
        pass  # perhaps the pattern of a sequence
    except (OSError, ValueError):
        return None
    try:
        sequence = find_images(Path(source))
    except (OSError, VideoReadError):
        return None
    if sequence is None:
        return None
    digest = hashlib.sha256()
    for path in sequence[0]:
        digest.update(repr((path.name, _size_and_time(path))).encode())
    return digest.hexdigest()


def _size_and_time(path: Path) -> tuple[int, int] | None:
    """Return size and modification time of a file; None for a broken link or a file out of reach."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
