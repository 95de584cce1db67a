"""Messages to the user on standard error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mien.cli.exit_codes import SOME_FAILED
from mien.number_format import count
from mien.schema import valid_text

NOTHING_WRITTEN = "nothing was written; give the command again"
"""Message of a stopped command without files to continue from."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and characters that change lines or the direction of writing."""


def printable(text: str) -> str:
    """Return text in one line, with control characters as escapes: a file name may contain any of them."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), valid_text(text))


def print_message(message: str) -> None:
    """Print one line to standard error, with the name of the program before it."""
    print(f"mien: {printable(message)}", file=sys.stderr)


def print_written(*paths: Path, quiet: bool = False) -> None:
    """Print the paths of written files and folders to standard error."""
    for path in () if quiet else paths:
        print_message(f"wrote {path}")


def print_overwriting(path: Path | None, *, quiet: bool = False) -> None:
    """Print to standard error that a path will be replaced, if it exists and is not an empty folder."""
    if path is not None and not quiet and holds_data(path):
        print_message(f"overwriting {path}")


def holds_data(path: Path) -> bool:
    """Return whether a file exists, or a folder with files."""
    try:
        return any(path.iterdir()) if path.is_dir() else path.is_file()
    except OSError:
        return False


def unreadable_note(failures: int) -> str:
    """Return the end of a summary that counts the inputs that could not be read; empty without any."""
    return f", {failures} could not be read" if failures else ""


def report_unreadable(names: list[str], noun: str = "image") -> int:
    """Print the missing and broken images or sounds of an evaluation; return the exit code, 1 if there are any."""
    if not names:
        return 0
    effect = "counts as an error" if len(names) == 1 else "count as errors"
    print_message(f"{count(len(names), f'missing or broken {noun}')} {effect}: {shorten(names)}")
    return SOME_FAILED


def shorten(names: list[str]) -> str:
    """Join the first three names of a list with commas, and an ellipsis if there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
