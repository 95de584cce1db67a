"""Paths that are not paths: empty text and URLs."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote
from urllib.request import url2pathname

_SCHEMES = "https?|ftp|sftp|s3|gs|az|abfss?|hdfs|rtmps?|rtsps?|srt|tcp|udp|blob|content"
_ADDRESS = re.compile(rf"(?P<scheme>{_SCHEMES}|[a-z][a-z0-9+.-]+(?=:/)):(?P<slashes>/*)", re.IGNORECASE)
_FILE = re.compile(r"file:(?://(?:localhost)?)?(?P<file>/?.*)", re.IGNORECASE | re.DOTALL)
_DATA = re.compile(r"data:[\w.+/-]*[;,]", re.IGNORECASE)
_SHOWN = 120


def path_problem(path: str | os.PathLike[str]) -> str | None:
    """Return why text cannot be the path of a file, and what to give instead; None for a path.

    `Path` merges the slashes of a URL; they are shown as they were meant.

    Example:
        >>> path_problem("photos/a.jpg"), path_problem("")
        (None, 'the path is empty; expected the name of a file or folder.')
        >>> path_problem("https:/example.org/a.jpg")
        'https://example.org/a.jpg: addresses are not fetched; download the file and give its path.'
        >>> path_problem("file:///photos/a%20b.jpg")
        'file:///photos/a%20b.jpg: expected a path; give /photos/a b.jpg'
    """
    text = os.fsdecode(path)
    if not text.strip():
        return "the path is empty; expected the name of a file or folder."
    if _DATA.match(text):
        return f"{text[:40]}...: addresses are not fetched; decode the data and give the bytes or a file."
    if match := _FILE.fullmatch(text):
        shown = re.sub(r"^(file):/(?!/)", r"\1:///", text, flags=re.IGNORECASE)
        return f"{shown}: expected a path; give {url2pathname(unquote(match['file']))}"
    if match := _ADDRESS.match(text):
        shown = f"{match['scheme']}://{text[match.end() :]}" if match["slashes"] else text
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        return f"{shown}: addresses are not fetched; download the file and give its path."
    return None
