"""HTTP and WebSocket connections that time out slow clients: subclasses of uvicorn's protocol classes.

uvicorn closes idle connections, but has no time limit for receiving headers or for a client to read its response, and
no limit on connections that have not sent a request. A client that sends one byte per minute would occupy a connection
forever. An ASGI application cannot prevent this, since it is called only after the headers are complete. A reverse
proxy can, but `mien serve` has to be safe without one.

`HttpToolsProtocol` and `WebSocketsSansIOProtocol` are not a documented API. Therefore pyproject.toml limits uvicorn to
one minor version, and tests/unit/server/test_run.py lists every name of uvicorn that this package depends on.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from mien.server.errors import HTTPProblem
from mien.server.settings import ServerSettings, flag

MAX_PIPELINED = 32
"""Maximum number of requests that a client may send before the first of them is answered."""


class _Connection(asyncio.Protocol):
    """Aborts the connection when the client does not read its response within `write_timeout_s`."""

    config: uvicorn.Config
    transport: asyncio.Transport
    _read_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    @property
    def settings(self) -> ServerSettings:
        """Settings of the application."""
        app: Any = self.config.app
        return app.state.service.settings

    def pause_writing(self) -> None:
        """Start the write timeout when the write buffer is full."""
        super().pause_writing()
        self._write_timer = self._abort_after(self.settings.write_timeout_s)

    def resume_writing(self) -> None:
        """Stop the write timeout when the client has read most of the buffer."""
        super().resume_writing()
        _cancel(self._write_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timeouts."""
        _cancel(self._read_timer)
        _cancel(self._write_timer)
        super().connection_lost(exc)

    def _abort_after(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self.transport.abort)


class WebSocketConnection(_Connection, WebSocketsSansIOProtocol):
    """WebSocket connection with a write timeout."""

    def data_received(self, data: bytes) -> None:
        """Process data; abort the connection when it is invalid and the handshake is not complete."""
        try:
            super().data_received(data)
        except (AssertionError, AttributeError, InvalidState):
            # uvicorn answers invalid data with a close frame and assumes that the handshake is complete;
            # its assertion becomes an AttributeError under python -O
            self.transport.abort()


class HTTPConnection(_Connection, HttpToolsProtocol):
    """HTTP connection with time limits for headers and for the rest of a rejected body, and a connection limit."""

    _is_in_headers = False
    _is_in_body = False
    _has_progress = False
    _bytes_without_progress = 0

    def connection_made(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, transport: asyncio.Transport
    ) -> None:
        """Start the header timeout; answer a connection over the limit with 503 and close it."""
        super().connection_made(transport)
        if len(self.connections) <= self.settings.max_connections:
            self._read_timer = self._abort_after(self.settings.header_timeout_s)
            return
        message = f"too many connections ({flag('max_connections')}); try again later."
        self._reject(HTTPProblem(503, "busy", message, retry_after_s=5))

    def data_received(self, data: bytes) -> None:
        """Process data; limit the bytes of incomplete headers, chunk sizes and trailers."""
        self._has_progress = False
        super().data_received(data)
        self._bytes_without_progress = 0 if self._has_progress else self._bytes_without_progress + len(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        if self._bytes_without_progress > self.settings.max_header_bytes:
            self.send_400_response("")
        elif self._read_timer is None and self._awaits_headers:
            self._read_timer = self._abort_after(self.settings.header_timeout_s)

    def on_message_begin(self) -> None:
        """Prepare for a request; the data are invalid if too many others are waiting."""
        super().on_message_begin()
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many pipelined requests")
        self._is_in_headers = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; ignore trailers, which follow the body."""
        if self._is_in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the header timeout and start the request; the data are invalid without exactly one Host header."""
        self._stop_read_timeout()
        version = self.parser.get_http_version()  # pyright: ignore[reportOptionalMemberAccess]
        if version != "1.0" and [name for name, _ in self.headers].count(b"host") != 1:
            raise ValueError("not exactly one Host header")
        self._is_in_headers, self._is_in_body, self._has_progress = False, True, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body to the request."""
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the timeout for the rest of a rejected body."""
        self._is_in_body, self._has_progress = False, True
        self._stop_read_timeout()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the body timeout if the response was sent before the whole body arrived."""
        super().on_response_complete()
        if self._is_in_body:
            self._stop_read_timeout()
            self._read_timer = self._abort_after(self.settings.body_timeout_s)

    def send_400_response(self, msg: str) -> None:
        """Reject malformed data; it may arrive in the middle of a body or after the response has started."""
        has_started = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if has_started:
            self.transport.close()
            return
        limit = f"{self.settings.max_header_bytes} bytes ({flag('max_header_bytes')})"
        message = f"the request is not valid HTTP, or its headers are larger than {limit}."
        self._reject(HTTPProblem(400, "http", message))

    @property
    def _awaits_headers(self) -> bool:
        """Whether headers are incomplete, or all requests are answered and data between two of them arrived."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return self._is_in_headers or (is_answered and not self._is_in_body)

    def _reject(self, problem: HTTPProblem) -> None:
        """Write an error response without the application, and close the connection."""
        response = problem.to_response()
        headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
        status_line = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n".encode("ascii")
        self.transport.write(status_line + headers + b"connection: close\r\n\r\n" + response.body)
        self.transport.close()

    def _stop_read_timeout(self) -> None:
        _cancel(self._read_timer)
        self._read_timer = None


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
