"""Bearer tokens: read from a file and the environment, compared in constant time."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

from mien.errors import InputError

VARIABLE = "MIEN_TOKEN"
SUBPROTOCOL = "bearer."
"""Browsers cannot set headers on a WebSocket: the token stands after this in a subprotocol that the client offers."""

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")


def read_tokens(file: Path | None) -> tuple[bytes, ...]:
    """The tokens of a file, one a line, and of the environment; none at all leaves the server open.

    Raises:
        InputError: when the file cannot be read or holds none, or a token is too short or has signs that a
            WebSocket's subprotocol cannot carry. No message shows a token.
    """
    lines: list[str] = []
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8'}.") from None
        if not lines:
            raise InputError(f"{file} holds no token; expected one a line.")
    if value := os.environ.get(VARIABLE, "").strip():
        lines.append(value)
    for place, line in enumerate(lines, start=1):
        if not _TOKEN.fullmatch(line):
            raise InputError(
                f"token {place} is no token: expected 16 to 256 of A-Z a-z 0-9 . _ ~ - "
                "(python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one)."
            )
    return tuple(line.encode() for line in lines)


def has_token(scope: Scope, tokens: Sequence[bytes]) -> bool:
    """Whether a request or a WebSocket comes with one of the tokens. How long it takes tells nothing about them."""
    given = _given(scope).encode("utf-8", errors="replace")
    matches = [hmac.compare_digest(given, token) for token in tokens]  # all of them, whichever fits
    return any(matches)


def _given(scope: Scope) -> str:
    scheme, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    offers = scope.get("subprotocols", ())
    return next((offer.removeprefix(SUBPROTOCOL) for offer in offers if offer.startswith(SUBPROTOCOL)), "")
