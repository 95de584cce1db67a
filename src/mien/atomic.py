"""Atomic file writes: a file is complete or absent, even after a crash."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

MAX_PREFIX = 40
"""Maximum number of characters of the name of a partial file; the longest names of a file system have 255 bytes."""


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file for writing that replaces `path` when the block ends without an error.

    The data is written to a file beside it, named by up to `MAX_PREFIX` characters of its name, random hex digits and
    `.partial`, so that concurrent writers do not mix: the last to finish wins. When the block raises, the partial file
    is removed and `path` stays unchanged; a killed process leaves its partial file. The permissions of an existing
    file are kept.

    The target of a link is replaced, not the link. Pipes and devices are not replaced but written to.
    """
    # os.path.realpath: unlike Path.resolve, it does not raise on a loop of links
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    # /dev/stdout leads to a name such as "pipe:[1234]", which is not a file
    if path.exists() and not target.is_file():
        with path.open("wb") as file:
            yield file
        return
    partial = target.with_name(f"{target.name[:MAX_PREFIX]}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            _copy_permissions(target, partial)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        if error.filename == str(partial):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)


def _copy_permissions(source: Path, target: Path) -> None:
    """Give a file the permissions of another one, if that exists."""
    # Windows would refuse to replace or remove a file without write permission
    if sys.platform != "win32":
        # the file does not exist, or the file system has no permissions
        with suppress(OSError):
            target.chmod(source.stat().st_mode & 0o777)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write bytes, or text as UTF-8, atomically; "?" replaces the bytes of file names that are not UTF-8."""
    with open_atomic(path) as file:
        file.write(data.encode("utf-8", "replace") if isinstance(data, str) else data)
