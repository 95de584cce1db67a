"""Bearer tokens: reading from a file and the environment, and comparison in constant time."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

from mien.errors import InputError, reason

VARIABLE = "MIEN_TOKEN"
SUBPROTOCOL = "bearer."
"""Prefix of a WebSocket subprotocol that carries the token; browsers cannot set headers on a WebSocket."""

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")


def read_tokens(file: Path | None) -> tuple[bytes, ...]:
    """Return the tokens of a file, one per line, and of the environment; without any, the server is open to all.

    Raises:
        InputError: when the file is unreadable or empty, or a token is too short or has characters that are invalid
            in a WebSocket subprotocol. The message never contains a token.
    """
    lines: list[str] = []
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {reason(error)}.") from None
        except UnicodeDecodeError:
            raise InputError(f"{file} is not UTF-8.") from None
        if not lines:
            raise InputError(f"{file} has no tokens; expected one per line.")
    if value := os.environ.get(VARIABLE, ""):
        # a blank variable is a mistake that must not open the server; an empty one is unset, as in compose.yaml
        lines.append(value.strip())
    for number, line in enumerate(lines, start=1):
        if not _TOKEN.fullmatch(line):
            raise InputError(
                f"token {number} is invalid: expected 16 to 256 of A-Z a-z 0-9 . _ ~ - "
                "(create one with python3 -c 'import secrets; print(secrets.token_urlsafe())')."
            )
    return tuple(line.encode() for line in lines)


def has_token(scope: Scope, tokens: Sequence[bytes]) -> bool:
    """Return whether a request or a WebSocket carries one of the tokens; the duration reveals nothing about them."""
    token = bearer_token(scope).encode("utf-8", errors="replace")
    matches = [hmac.compare_digest(token, expected) for expected in tokens]  # no early exit
    return any(matches)


def bearer_token(scope: Scope) -> str:
    """Return the token of a request or a WebSocket; an empty text without one."""
    scheme, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    offers = scope.get("subprotocols", ())
    return next((offer.removeprefix(SUBPROTOCOL) for offer in offers if offer.startswith(SUBPROTOCOL)), "")
