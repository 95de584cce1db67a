"""What the tests of the server share: its app in this process, `mien serve` in another, and pictures to send."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from mien.server.app import create_app
from mien.server.settings import ServerSettings
from pictures_made import EXAMPLES

BAD = b"no picture"
JPEG = {"Content-Type": "image/jpeg"}


@cache
def jpeg(name: str = "astronaut", side: int = 256) -> bytes:
    """A picture of `examples/`, made small, as a JPEG file."""
    file, picture = io.BytesIO(), Image.open(EXAMPLES / f"{name}.jpg")
    picture.thumbnail((side, side))
    picture.save(file, "JPEG")
    return file.getvalue()


def form(*pictures: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Pictures as the files of a form, named 0.jpg, 1.jpg, ..."""
    return [("images", (f"{place}.jpg", data)) for place, data in enumerate(pictures)]


@contextmanager
def client_of(**settings: Any) -> Iterator[TestClient]:
    """The app in this process; errors nobody expected are answered 500, as they are for real clients."""
    app = create_app(ServerSettings(**settings))
    with TestClient(app, base_url="http://mien.test", raise_server_exceptions=False) as client:
        yield client


class Served:
    """`mien serve` in a process of its own, on a free port unless told, ready."""

    def __init__(self, model: Path, *words: str, port: int = 0) -> None:
        command = [
            sys.executable,
            "-m",
            "mien.cli.main",
            "serve",
            "--port",
            str(port),
            "--model",
            str(model),
            *words,
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        if not self.line:
            raise RuntimeError(self.process.communicate()[1])
        self.url = self.line.split()[-1]
        self.address = ("127.0.0.1", int(self.url.rpartition(":")[2]))

    def connect(self) -> socket.socket:
        """A bare connection, with 20 s of patience."""
        return socket.create_connection(self.address, timeout=20)

    def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, wait, and give the exit code and the log."""
        self.process.send_signal(sign)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log

    def __enter__(self) -> Served:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.communicate(timeout=30)
