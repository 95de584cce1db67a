"""Files that are whole or absent: what a kill at any instant leaves behind."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write that takes its name only when the block ends well.

    Until then it is `path`, hex digits and `.partial`, so that two processes may write the same file: the later one
    stays. When the block raises, that is removed and an older `path` stays as it was; a killed process leaves its own.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write bytes, or text as UTF-8, whole or not at all."""
    with open_atomic(path) as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)
