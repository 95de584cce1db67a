"""What the tests of the server share: its app in this process, `mien serve` in another, and images to send."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx2
from PIL import Image
from starlette.testclient import TestClient

from mien.server.app import create_app
from mien.server.settings import ServerSettings
from support.images import EXAMPLES

BAD = b"no image"
JPEG = {"Content-Type": "image/jpeg"}
TOKEN = "a-token-of-enough-signs"


@cache
def jpeg(name: str = "astronaut", side: int = 256) -> bytes:
    """An image of `examples/`, made small, as a JPEG file."""
    file, image = io.BytesIO(), Image.open(EXAMPLES / f"{name}.jpg")
    image.thumbnail((side, side))
    image.save(file, "JPEG")
    return file.getvalue()


def form(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Images as the files of a form, named 0.jpg, 1.jpg, ..."""
    return [("images", (f"{place}.jpg", data)) for place, data in enumerate(images)]


@contextmanager
def client_of(**settings: Any) -> Iterator[TestClient]:
    """The app in this process; errors nobody expected are answered 500, as they are for real clients."""
    app = create_app(ServerSettings(**settings))
    with TestClient(app, base_url="http://mien.test", raise_server_exceptions=False) as client:
        yield client


def error_of(answer: httpx2.Response, status: int) -> str:
    """The code of an answer that must be an error of this status, and nothing else."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]["code"]


class Served:
    """`mien serve` in a process of its own, ready.

    Args:
        model: the model to serve; None for those that ship.
        words: more of its command line.
        log: the file to write its log to. A pipe that nobody reads would stop the server once it is full.
        port: where to listen; 0 for any that is free.
        environment: variables beside those of this process.

    Raises:
        RuntimeError: with its log, when it ended before it was ready.
    """

    def __init__(
        self,
        model: Path | None,
        *words: str,
        log: Path,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        command = [sys.executable, "-m", "mien.cli.main", "serve", f"--port={port}", *words]
        if model is not None:
            command.append(f"--model={model}")
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        if not self.line:
            self.process.communicate()
            raise RuntimeError(log.read_text(encoding="utf-8"))
        self.url = self.line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])
        self.address = ("127.0.0.1", self.port)

    def connect(self, buffer: int | None = None) -> socket.socket:
        """A bare connection, with 20 s of patience; `buffer` is how many bytes the client's system takes ahead."""
        client = socket.socket()
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(20)
        client.connect(self.address)
        return client

    def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, wait, and give the exit code and the log."""
        self.process.send_signal(sign)
        return self.process.wait(timeout=60), self.log.read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.communicate(timeout=30)
