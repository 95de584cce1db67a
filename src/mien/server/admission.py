"""Admission control: limits of waiting images and bytes, and middleware that checks origins and tokens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.number_format import count
from mien.server.auth import bearer_token, has_token
from mien.server.errors import HTTPProblem, send_problem, shutting_down
from mien.server.settings import ServerSettings, flag

MAX_RETRY_AFTER_S = 60


class Admission:
    """Counter of the images and bytes that are admitted and not yet answered; rejects those over the limits.

    Args:
        settings: its `max_waiting` and `max_waiting_bytes` are the limits.
        wait_s: estimates the processing time of a number of images, in seconds.
    """

    def __init__(self, settings: ServerSettings, wait_s: Callable[[int], float]) -> None:
        self._settings = settings
        self._wait_s = wait_s
        self.images = 0
        self.bytes = 0
        self.is_draining = False

    @property
    def retry_after_s(self) -> int:
        """Estimated time until all admitted images are answered, in whole seconds, 1..60."""
        return min(max(1, ceil(self._wait_s(self.images))), MAX_RETRY_AFTER_S)

    @contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """Reserve capacity for one image until the block ends; the reservation can be extended.

        Raises:
            HTTPProblem: 429 when a limit is reached, here or in the methods of the reservation.
        """
        reservation = Reservation(self)
        try:
            reservation.add(images=1)
            yield reservation
        finally:
            self.images -= reservation.images
            self.bytes -= reservation.bytes

    def add(self, images: int, size: int) -> None:
        """Admit further images and bytes; raise a 429 HTTPProblem when they would exceed a limit."""
        if self.images + images > self._settings.max_waiting:
            waiting, limit = count(self.images, "image"), "max_waiting"
        elif self.bytes + size > self._settings.max_waiting_bytes:
            waiting, limit = f"{self.bytes} bytes of images", "max_waiting_bytes"
        else:
            self.images += images
            self.bytes += size
            return
        message = f"{waiting} are already waiting; try again after the time in Retry-After ({flag(limit)})."
        raise HTTPProblem(429, "busy", message, retry_after_s=self.retry_after_s)


@dataclass
class Reservation:
    """Capacity that one request holds."""

    admission: Admission
    images: int = 0
    bytes: int = 0

    def add(self, *, images: int = 0, size: int = 0) -> None:
        """Reserve further images and bytes, or raise an HTTPProblem."""
        self.admission.add(images, size)
        self.images += images
        self.bytes += size


class AccessMiddleware:
    """Middleware for /v1 and /metrics: rejects requests during shutdown, from foreign origins and without a token.

    Args:
        app: the wrapped application.
        admission: its `is_draining` is set during shutdown.
        origins: allowed origins of web pages, besides the server's own; "*" allows all.
        tokens: accepted bearer tokens; empty turns authentication off.
    """

    def __init__(self, app: ASGIApp, admission: Admission, origins: Collection[str], tokens: Sequence[bytes]) -> None:
        self.app = app
        self._admission = admission
        self._origins = origins
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward allowed requests; answer others with an error."""

        async def send_and_close(message: Message) -> None:
            if self._admission.is_draining and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        problem = self._check(scope) if scope["type"] in ("http", "websocket") else None
        if problem is None:
            await self.app(scope, receive, send_and_close)
        else:
            await send_problem(problem, scope, receive, send_and_close)

    def _check(self, scope: Scope) -> HTTPProblem | None:
        path = scope["path"]
        # prefixes, because a route also matches a path with a trailing newline
        if not path.startswith(("/v1/", "/metrics")):
            return None
        if self._admission.is_draining and path.startswith("/v1/"):
            return shutting_down()
        if not self._is_origin_allowed(Headers(scope=scope)):
            message = "web pages of this origin are not allowed; allow it with mien serve --allow-origin."
            return HTTPProblem(403, "origin", message)
        if self._tokens and not has_token(scope, self._tokens):
            problem = "the token is wrong" if bearer_token(scope) else "the token is missing"
            return HTTPProblem(401, "token", f"{problem}; send Authorization: Bearer TOKEN.")
        return None

    def _is_origin_allowed(self, headers: Headers) -> bool:
        """Return whether the client is not a web page, or a page of the server itself or of an allowed origin."""
        origin = headers.get("origin")
        if origin is None or origin in self._origins or "*" in self._origins:
            return True
        host = headers.get("host", "").lower()
        return origin.partition("://")[2].lower() == host and _is_address(host)


def _is_address(host: str) -> bool:
    """Return whether a Host header is an IP address or localhost, with or without a port.

    Any other name may belong to an attacker and resolve to this server (DNS rebinding).
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost"
    return True
