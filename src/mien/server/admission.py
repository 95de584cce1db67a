"""How much the server takes in at once, and whom it lets in at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.auth import has_token
from mien.server.errors import RefusalError, refuse
from mien.server.settings import ServerSettings

LONGEST_RETRY_S = 60


class Admission:
    """Counts what is taken in and not answered yet, and refuses what would be too much.

    Args:
        settings: its `max_waiting` and `max_waiting_bytes`.
        wait_s: how long so many images take.
    """

    def __init__(self, settings: ServerSettings, wait_s: Callable[[int], float]) -> None:
        self._settings, self._wait_s = settings, wait_s
        self.images, self.bytes, self.is_draining = 0, 0, False

    @property
    def retry_after_s(self) -> int:
        """When what is taken in now will be answered, in whole seconds: 1..60."""
        return min(max(1, ceil(self._wait_s(self.images))), LONGEST_RETRY_S)

    @contextmanager
    def ticket(self) -> Iterator[Ticket]:
        """A place for one image until the block ends; more can be asked of it.

        Raises:
            RefusalError: 429 when there is none, and from all that the ticket is asked for.
        """
        ticket = Ticket(self)
        try:
            ticket.add_images(1)
            yield ticket
        finally:
            self.images -= ticket.images
            self.bytes -= ticket.bytes

    def check(self, images: int, size: int) -> None:
        """Refuse with 429 when so many more images or bytes are too much."""
        if self.images + images > self._settings.max_waiting:
            problem = f"{self.images} images wait already"
        elif self.bytes + size > self._settings.max_waiting_bytes:
            problem = f"{self.bytes} bytes of images wait already"
        else:
            return
        raise RefusalError(
            429, "busy", f"{problem}; try again when Retry-After says.", retry_after_s=self.retry_after_s
        )


@dataclass
class Ticket:
    """What one request holds of the server's room."""

    admission: Admission
    images: int = 0
    bytes: int = 0

    def add_images(self, count: int) -> None:
        """Take room for so many more images, or raise a RefusalError."""
        self.admission.check(count, 0)
        self.images += count
        self.admission.images += count

    def add_bytes(self, count: int) -> None:
        """Take room for so many more bytes, or raise a RefusalError."""
        self.admission.check(0, count)
        self.bytes += count
        self.admission.bytes += count


class Gate:
    """Middleware in front of /v1 and /metrics: no server that is ending, no foreign page, no stranger.

    Args:
        app: what lies behind.
        admission: knows whether the server is ending.
        origins: web pages of these may call, besides the server's own; "*" lets all.
        tokens: one of them must come with a request; none lets everybody in.
    """

    def __init__(
        self, app: ASGIApp, admission: Admission, origins: Collection[str], tokens: Sequence[bytes]
    ) -> None:
        self.app, self._admission, self._origins, self._tokens = app, admission, origins, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass what may pass."""
        refusal = self._problem(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is not None:
            await refuse(refusal, scope, receive, self._last(send))
        else:
            await self.app(scope, receive, self._last(send))

    def _last(self, send: Send) -> Send:
        """A server that is ending keeps no connection open after an answer."""

        async def send_last(message: Message) -> None:
            if self._admission.is_draining and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return send_last

    def _problem(self, scope: Scope) -> RefusalError | None:
        path = scope["path"]
        if not path.startswith(
            ("/v1/", "/metrics")
        ):  # no exact match: a route takes a newline behind its path
            return None
        if self._admission.is_draining and path.startswith("/v1/"):
            return ending()
        if not self._is_near(Headers(scope=scope)):
            return RefusalError(
                403, "origin", "web pages of this origin may not call (mien serve --allow-origin)."
            )
        if self._tokens and not has_token(scope, self._tokens):
            return RefusalError(401, "token", "a token is needed: Authorization: Bearer TOKEN.")
        return None

    def _is_near(self, headers: Headers) -> bool:
        """Whether the caller is no web page, one of the server's own, or of an origin that was allowed."""
        origin = headers.get("origin")
        if origin is None or origin in self._origins or "*" in self._origins:
            return True
        host = headers.get("host", "").lower()
        return origin.partition("://")[2].lower() == host and _is_address(host)


def _is_address(host: str) -> bool:
    """Whether a Host header is an IP address or localhost, with a port or not.

    Any other name may be a stranger's that he made point here (DNS rebinding).
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost"
    return True


def ending() -> RefusalError:
    """What a server says that was told to end."""
    return RefusalError(503, "ending", "the server is ending; try again later.", retry_after_s=5)
