"""What the server may be told: where it listens, what it serves, how it batches, and every limit."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from mien.errors import InputError
from mien.runtime import usable_cores

_MAY_BE_ZERO = frozenset({"port", "workers", "batch_window_ms", "shutdown_grace_s"})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Everything that `mien serve` can be told; every field is a flag of the same name.

    Attributes:
        host: address to listen on; only this machine can reach the default.
        port: to listen on; 0 takes a free one.
        model: shipped models' names or paths of .onnx files; the first is the default. All that ship unless told.
        token_file: file with one bearer token a line; the environment variable MIEN_TOKEN may hold one more. Without
            either everybody who reaches the server may use it.
        allow_origin: web pages of these origins (https://example.org) may call the server, besides its own page.
        workers: batches that are read side by side; 0: one a core, or a single one when batch_images is 1.
        batch_window_ms: how long an image waits at most for others to be read with, in milliseconds.
        batch_images: most images that a worker reads together; 1 reads every image alone.
        batch_faces: most faces that go through the expression network together.
        max_waiting: most images that are taken in and not answered yet; more are answered 429.
        max_waiting_bytes: most bytes of their bodies together; more are answered 429.
        max_images: most images of one request.
        max_body_bytes: largest body of a request.
        max_pixels: largest image, width times height; larger ones are refused before they are decoded.
        max_faces: most faces of an image, the largest ones.
        max_connections: most open connections of all kinds; more are answered 503 and closed.
        max_streams: most WebSocket connections.
        max_message_bytes: largest message of a WebSocket.
        max_header_bytes: request lines and headers that are not whole after so many bytes are refused.
        header_timeout_s: in which a request's headers must have come.
        body_timeout_s: in which a request's body must have come.
        request_timeout_s: in which the images of a request must have been read.
        write_timeout_s: how long a client may leave an answer unread before it is cut off.
        keep_alive_s: how long a connection stays open between two requests.
        stream_idle_s: how long a WebSocket may send nothing.
        shutdown_grace_s: how long a server that was told to end finishes what it took.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: tuple[str, ...] = ()
    token_file: Path | None = None
    allow_origin: tuple[str, ...] = ()
    workers: int = 0
    batch_window_ms: float = 4.0
    batch_images: int = 8
    batch_faces: int = 32
    max_waiting: int = 128
    max_waiting_bytes: int = 256 * 2**20
    max_images: int = 16
    max_body_bytes: int = 32 * 2**20
    max_pixels: int = 25_000_000
    max_faces: int = 100
    max_connections: int = 512
    max_streams: int = 16
    max_message_bytes: int = 4 * 2**20
    max_header_bytes: int = 16 * 2**10
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    request_timeout_s: float = 60.0
    write_timeout_s: float = 30.0
    keep_alive_s: int = 15
    stream_idle_s: float = 300.0
    shutdown_grace_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: when a number is out of its range.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and not (
                value > 0 or (value == 0 and item.name in _MAY_BE_ZERO)
            ):
                raise InputError(
                    f"{item.name} is {value}; expected {'0 or more' if item.name in _MAY_BE_ZERO else 'more than 0'}."
                )
        if self.port > 65535:
            raise InputError(f"port is {self.port}; expected 0..65535.")
        if self.max_images > self.max_waiting:
            raise InputError(
                f"max_images ({self.max_images}) is more than max_waiting ({self.max_waiting}): such a request "
                "could never be taken in."
            )
        if self.max_body_bytes > self.max_waiting_bytes:
            raise InputError(
                f"max_body_bytes ({self.max_body_bytes}) is more than max_waiting_bytes ({self.max_waiting_bytes}): "
                "such a request could never be taken in."
            )

    @property
    def worker_count(self) -> int:
        """Batches that are read side by side."""
        return self.workers or (1 if self.batch_images == 1 else usable_cores())

    @property
    def network_threads(self) -> int:
        """Threads of every network, so that all workers together keep every core busy once."""
        return max(1, usable_cores() // self.worker_count)
