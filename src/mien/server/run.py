"""Server process: listening socket, uvicorn configuration and graceful shutdown.

uvicorn closes idle connections at once when it stops and resets those that it has not accepted yet, so that clients
lose requests they have already sent. `GracefulServer` answers them first. It overrides two methods of `uvicorn.Server`;
tests/unit/server/test_run.py lists every name of uvicorn that this package depends on.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Callable
from ipaddress import ip_address
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from mien.errors import InputError, reason
from mien.server.app import create_app
from mien.server.connections import HTTPConnection, WebSocketConnection
from mien.server.logs import LOGGER, configure_logs
from mien.server.processes import AnalysisProcesses
from mien.server.settings import ServerSettings

CLOSE_TIMEOUT_S = 1.0
"""Time limit for answering connections that are open when the server stops listening."""
POLL_INTERVAL_S = 0.05


def listen(settings: ServerSettings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then answer all admitted requests and return.

    Args:
        settings: address, models and limits.
        on_ready: called with the URL once the server accepts requests.

    Raises:
        InputError: when the address is unavailable or the settings are invalid.
        ModelError: when a model is unknown or broken.
    """
    with _bind(settings.host, settings.port) as bound, contextlib.ExitStack() as stack:
        processes = AnalysisProcesses(settings) if settings.has_processes else None
        app = create_app(settings, processes and processes.analyze)
        # before uvicorn starts, so that a broken model is reported as one line
        if processes is None:
            pool = app.state.service.pool
            pool.analyzer(pool.default)
        else:
            stack.enter_context(processes)
        configure_logs(settings.log_format)
        if not app.state.is_protected and not ip_address(bound.getsockname()[0]).is_loopback:
            LOGGER.warning("no token: everyone who can connect may use this server; see mien serve --token-file")
        config = uvicorn.Config(
            app,
            http=HTTPConnection,
            ws=WebSocketConnection,
            ws_max_size=settings.max_message_bytes,
            # a small compressed message can decompress to any size
            ws_per_message_deflate=False,
            h11_max_incomplete_event_size=settings.max_header_bytes,
            timeout_keep_alive=settings.keep_alive_s,
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        host = settings.host.strip("[]")
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
        end_analysis = processes.end if processes else lambda: None
        GracefulServer(config, bound, app, lambda: on_ready(url), end_analysis).run([bound])


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address and not yet listening; an IPv6 address may have brackets."""
    if not host.strip():
        # the empty host would be every address of this machine
        raise InputError("host is empty; expected an address or a name, such as 127.0.0.1, ::1 or 0.0.0.0.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio turns off Nagle's algorithm, which delays responses, only if the protocol is explicit
        bound = socket.socket(family, kind, socket.IPPROTO_TCP)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason(error)}. Choose another with --host and --port."
        ) from None
    return bound


class GracefulServer(uvicorn.Server):
    """Server that shuts down in two phases: answer admitted requests and reject new ones, then close.

    Args:
        config: configuration of uvicorn.
        bound: the socket of `config`.
        app: the application.
        on_ready: called once the server listens.
        end_analysis: called when all images are answered or the time for that is over.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        bound: socket.socket,
        app: Starlette,
        on_ready: Callable[[], None],
        end_analysis: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._socket = bound
        self._service = app.state.service
        self._on_ready = on_ready
        self._end_analysis = end_analysis
        self._shutdown: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then call `on_ready`."""
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown on the first signal; exit without waiting on the second."""
        asyncio.get_running_loop().call_soon_threadsafe(self._on_signal)

    def _on_signal(self) -> None:
        if self._shutdown is None:
            self._shutdown = asyncio.create_task(self._shut_down())
        else:
            self.should_exit = self.force_exit = True
            self._end_analysis()

    async def _shut_down(self) -> None:
        LOGGER.info("shutting down")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._service.settings.shutdown_grace_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline_s):
                await self._service.drain()
                await self._stop_listening()
        # otherwise a process that hangs would keep the server from exiting
        self._end_analysis()
        self.config.timeout_graceful_shutdown = max(1, round(deadline_s - loop.time()))
        self.should_exit = True

    async def _stop_listening(self) -> None:
        """Accept the pending connections, stop listening, and wait until all connections are answered."""
        loop = asyncio.get_running_loop()
        while select.select([self._socket], [], [], 0)[0]:
            # the event loop accepts them
            await asyncio.sleep(0)
        loop.remove_reader(self._socket)
        # not every operating system can shut down a listening socket
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        deadline_s = loop.time() + CLOSE_TIMEOUT_S
        # uvicorn registers an accepted connection in a later iteration of the event loop
        await asyncio.sleep(POLL_INTERVAL_S)
        while self.server_state.connections and loop.time() < deadline_s:
            await asyncio.sleep(POLL_INTERVAL_S)
