"""Server fixtures: the application in this process, `mien serve` in another one, and images to send."""

from __future__ import annotations

import io
import os
import re
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
    """Return an image of `examples/`, reduced to fit into a square, as a JPEG file."""
    file, image = io.BytesIO(), Image.open(EXAMPLES / f"{name}.jpg")
    image.thumbnail((side, side))
    image.save(file, "JPEG")
    return file.getvalue()


def form(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Return images as the files of a form, named 0.jpg, 1.jpg, ..."""
    return [("images", (f"{index}.jpg", data)) for index, data in enumerate(images)]


@contextmanager
def create_client(**settings: Any) -> Iterator[TestClient]:
    """Run the application in this process; unexpected exceptions are answered 500, as for real clients."""
    app = create_app(ServerSettings(**settings))
    with TestClient(app, base_url="http://mien.test", raise_server_exceptions=False) as client:
        yield client


def error_code(response: httpx2.Response, status: int) -> str:
    """Return the code of a response, which must be an error with this status."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["error"]) == (status, {"code": problem["code"], "message": problem["detail"]})
    return problem["code"]


def child_pids(pid: int) -> list[int]:
    """Return the ids of the children of a process; empty where there is no /proc."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text(encoding="ascii").split()]


class ServerProcess:
    """`mien serve` in its own process, ready to accept requests.

    Args:
        model: model to serve; None for the shipped ones.
        options: further command-line options.
        log: file for its log. A pipe would block the server once it is full.
        port: port to listen on; 0 chooses a free one.
        environment: additional environment variables.

    Raises:
        RuntimeError: with its log, when it exits before it is ready.
    """

    def __init__(
        self, model: Path | None, *options: str, log: Path, port: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        command = [sys.executable, "-m", "mien.cli.main", "serve", f"--port={port}", *options]
        if model is not None:
            command.append(f"--model={model}")
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**os.environ, **(environment or {})}
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
        """Open a TCP connection with a timeout of 20 s; `buffer` is the size of its receive buffer in bytes."""
        client = socket.socket()
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(20)
        client.connect(self.address)
        return client

    def pids(self) -> list[int]:
        """Return the ids of the server's process and of its analysis processes."""
        return [self.process.pid, *child_pids(self.process.pid)]

    def memory_mb(self, key: str = "VmRSS") -> float:
        """Return the resident memory of all processes, or the sum of their peaks with `VmHWM`."""
        kilobytes = 0
        for pid in self.pids():
            match = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
            kilobytes += int(match[1]) if match else 0
        return kilobytes / 1024

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, wait for the exit, and return the exit code and the log."""
        self.process.send_signal(sign)
        return self.process.wait(timeout=60), self.log.read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        """Return this process."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.communicate(timeout=30)
