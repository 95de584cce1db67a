"""Paths that are not paths, such as empty text and URLs, and the public names of URLs."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

_SCHEMES = "https?|ftp|sftp|s3|gs|az|abfss?|hdfs|rtmps?|rtsps?|srt|tcp|udp|blob|content"
_ADDRESS = re.compile(rf"(?P<scheme>{_SCHEMES}|[a-z][a-z0-9+.-]+(?=:/)):(?P<slashes>/*)", re.IGNORECASE)
_FILE = re.compile(r"file:(?://(?:localhost)?)?(?P<file>/?.*)", re.IGNORECASE | re.DOTALL)
_DATA = re.compile(r"data:[\w.+/-]*[;,]", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"""(?P<scheme>[a-z][a-z0-9+.-]+://?)(?:
        [^/?\#@:\[]*:(?!\d*(?:[/?\#]|$))(?:[^?\#]*@|.*@)  # user name and password, unless it is host and port
        |[^/?\#]*@                                        # user name
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_SHOWN = 120


def public_name(source: str) -> str:
    """Return the name of a path, a camera or a URL for messages and files; a URL is without user name and password.

    A password may contain "/" as it is. Only digits between ":" and "/" are a port. `Path` leaves one "/" of "//".

    Example:
        >>> public_name("rtsp://user:pass/word@host:554/one"), public_name("http://host:80/one@two")
        ('rtsp://host:554/one', 'http://host:80/one@two')
    """
    match = _CREDENTIALS.match(source)
    return match["scheme"] + source[match.end() :] if match else source


def path_problem(path: str | os.PathLike[str]) -> str | None:
    """Return why text cannot be the path of a file, and what to give instead; None for a path.

    `Path` merges the slashes of a URL; they are shown as they were meant. User name and password are not shown.

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
        from urllib.request import url2pathname  # it imports an HTTP client

        shown = re.sub(r"^(file):/(?!/)", r"\1:///", text, flags=re.IGNORECASE)
        return f"{shown}: expected a path; give {url2pathname(unquote(match['file']))}"
    if match := _ADDRESS.match(text):
        shown = public_name(f"{match['scheme']}://{text[match.end() :]}") if match["slashes"] else text
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        return f"{shown}: addresses are not fetched; download the file and give its path."
    return None
