"""The process that listens: uvicorn with the timeouts and the ending that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.errors import InputError
from mien.server.app import create_app
from mien.server.errors import RefusalError
from mien.server.logs import LOGGER, configure_logs
from mien.server.settings import ServerSettings

LAST_WORDS_S = 1.0
"""How long a server that ends still answers those who had connected before it stopped listening."""
LAST_TICK_S = 0.05


def listen(settings: ServerSettings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what was taken in by then is answered.

    Args:
        settings: where to listen, and every limit.
        on_ready: told the address, once the server takes requests.

    Raises:
        InputError: when the address cannot be listened on, or the settings cannot be used.
        ModelError: when a model is unknown or broken.
    """
    with _bound(settings.host, settings.port) as bound:
        app = create_app(settings)
        app.state.service.shelf.open_default()  # a broken model is told here, in one line
        configure_logs()
        config = uvicorn.Config(
            app,
            http=_with_settings(PatientProtocol, settings),
            ws=_with_settings(PatientWebSocket, settings),
            ws_max_size=settings.max_message_bytes,
            ws_per_message_deflate=False,  # a small message could unfold to any size
            h11_max_incomplete_event_size=settings.max_header_bytes,
            timeout_keep_alive=settings.keep_alive_s,
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{host}:{bound.getsockname()[1]}"
        EndingServer(config, bound, app, lambda: on_ready(address)).run([bound])


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has the address, and does not listen yet."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # named, or else asyncio does not see that it is TCP, and lets answers wait (Nagle's algorithm)
        bound = socket.socket(family, kind, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise InputError(
            f"cannot listen on {host}, port {port}: {problem}. Choose another with --host and --port."
        ) from None
    return bound


class EndingServer(uvicorn.Server):
    """Ends in two steps: first everything that was taken in is answered and new requests are sent away, then it closes.

    Args:
        config: of uvicorn.
        bound: the socket that it listens on.
        app: with its `state.service`.
        on_ready: called once it listens.
    """

    def __init__(
        self, config: uvicorn.Config, bound: socket.socket, app: FastAPI, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._bound, self._service, self._on_ready = bound, app.state.service, on_ready
        self._ending: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT begin the end; a second one does not wait for it."""
        loop, ends = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for end in ends:
            loop.add_signal_handler(end, self._begin_end)
        try:
            yield
        finally:
            for end in ends:
                loop.remove_signal_handler(end)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._on_ready()

    def _begin_end(self) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        else:
            self.should_exit = self.force_exit = True

    async def _end(self) -> None:
        LOGGER.info("ending")
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._service.settings.shutdown_grace_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                await self._service.drain()
                await self._see_off()
        self.config.timeout_graceful_shutdown = max(1, round(until_s - loop.time()))
        self.should_exit = True

    async def _see_off(self) -> None:
        """Listen no more, and tell those who had connected by now that it ends."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._bound)
        with contextlib.suppress(
            OSError
        ):  # nobody is left in the queue, or this system cannot stop listening
            while True:
                connection, _ = self._bound.accept()
                await loop.connect_accepted_socket(self._new_protocol, connection)
        with contextlib.suppress(OSError):
            self._bound.shutdown(socket.SHUT_RD)
        until_s = loop.time() + LAST_WORDS_S
        await asyncio.sleep(LAST_TICK_S)  # for those who were accepted and are not counted yet
        while self.server_state.connections and loop.time() < until_s:
            await asyncio.sleep(LAST_TICK_S)

    def _new_protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for every connection."""
        protocol: Any = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _CutsOff:
    """A protocol that cuts a client off which leaves its answer unread."""

    settings: ServerSettings
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The client takes nothing more for now."""
        super().pause_writing()  # pyright: ignore[reportAttributeAccessIssue]
        loop = asyncio.get_running_loop()
        self._unread = loop.call_later(self.settings.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()  # pyright: ignore[reportAttributeAccessIssue]
        if self._unread is not None:
            self._unread.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to cut off."""
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)  # pyright: ignore[reportAttributeAccessIssue]


class PatientWebSocket(_CutsOff, WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with a limit to its patience, and calm about what is no WebSocket at all."""

    def send_receive_event_to_app(self) -> None:
        """A message is whole. Text that is no UTF-8 ends the connection."""
        try:
            if self.curr_msg_data_type == "text":
                b"".join(self.frames).decode()
        except UnicodeDecodeError:
            self.frames = []
            self.conn.fail(1007)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """What came breaks the protocol."""
        if self.conn.close_sent is not None:
            super().handle_parser_exception()
        else:  # it came before the handshake was answered
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.transport.abort()


class PatientProtocol(_CutsOff, H11Protocol):
    """uvicorn's HTTP connection, with limits to its patience.

    Headers must come in time, and so must the rest of a body that was refused. Connections over the limit are answered
    503 and closed.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client came."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            response = RefusalError(503, "busy", "too many connections.", retry_after_s=5).to_response()
            head = b"".join(b"%s: %s\r\n" % pair for pair in response.raw_headers)
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n%s\r\n%s" % (head, response.body)
            )
            transport.close()
        else:
            self._wait_for(self.settings.header_timeout_s)

    def data_received(self, data: bytes) -> None:
        """Something came: headers, a body, or a part of them."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            if self._late is None:
                self._wait_for(self.settings.header_timeout_s)
        elif (
            self.conn.our_state is not h11.DONE
        ):  # or else it is the rest of a body that was answered already
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP, perhaps in the middle of a body: whoever reads that body is told that no more comes."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # an answer is under way, or was given
            self.transport.close()

    def on_response_complete(self) -> None:
        """The answer is out, perhaps before the whole body came."""
        is_partial = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if is_partial:
            self._wait_for(self.settings.body_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for(self, seconds: float) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _with_settings(protocol: type[_CutsOff], settings: ServerSettings) -> Any:
    return type(protocol.__name__, (protocol,), {"settings": settings})
