"""HTTP and WebSocket connections that time out slow clients: subclasses of uvicorn's protocol classes.

uvicorn closes idle connections, but has no time limit for receiving headers or for a client to read its response, and
no limit on connections that have not sent a request. A client that sends one byte per minute would occupy a connection
forever. An ASGI application cannot prevent this, since it is called only after the headers are complete. A reverse
proxy can, but `mien serve` has to be safe without one.

`H11Protocol` and `WebSocketsSansIOProtocol` are not a documented API. Therefore pyproject.toml limits uvicorn to one
minor version, and tests/unit/server/test_run.py lists every name of uvicorn that this package depends on.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from mien.server.errors import HTTPProblem
from mien.server.settings import ServerSettings, flag


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

    async def send(self, message: Any) -> None:
        """Send a message; an error response completes the handshake, which uvicorn would report as incomplete."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def data_received(self, data: bytes) -> None:
        """Process data; abort the connection when it is invalid and the handshake is not complete."""
        try:
            super().data_received(data)
        except (AssertionError, AttributeError, InvalidState):
            # uvicorn answers invalid data with a close frame and assumes that the handshake is complete;
            # its assertion becomes an AttributeError under python -O
            self.transport.abort()
        if not self.handshake_initiated:
            # the request, which is passed as a whole, is invalid as a handshake; it would not be answered
            self.transport.abort()


class HTTPConnection(_Connection, H11Protocol):
    """HTTP connection with time limits for headers and for the rest of a rejected body, and a connection limit."""

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
        """Process data; stop the header timeout once the headers are complete."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            # the headers of the next request have started
            if self._read_timer is None:
                self._read_timer = self._abort_after(self.settings.header_timeout_s)
        elif self.conn.our_state is not h11.DONE:
            # otherwise this is the rest of a body, and the request is already answered
            self._stop_read_timeout()

    def send_400_response(self, msg: str) -> None:
        """Reject malformed data; it may arrive in the middle of a body or after the response has started."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            limit = f"{self.settings.max_header_bytes} bytes ({flag('max_header_bytes')})"
            message = f"the request is not valid HTTP, or its headers are larger than {limit}."
            self._reject(HTTPProblem(400, "http", message))
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Start the body timeout if the response was sent before the whole body arrived."""
        is_body_incomplete = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if is_body_incomplete:
            self._stop_read_timeout()
            self._read_timer = self._abort_after(self.settings.body_timeout_s)

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
