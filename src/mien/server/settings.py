"""Server configuration: address, models, workers and limits."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from mien.devices import CPU, Precision, find_devices
from mien.errors import InputError
from mien.runtime import usable_cores

LogFormat = Literal["auto", "text", "json"]
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d+)?/?", re.ASCII)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_ZERO_ALLOWED = frozenset({"port", "workers", "shutdown_grace_s"})


ACCESS = Group("Address and access", sort_key=10)
MODELS = Group("Models and workers", sort_key=11)
LIMITS = Group("Limits", sort_key=12)
TIME_LIMITS = Group("Time limits", sort_key=13)
"""Sections of the help of `mien serve`."""

Count = Annotated[int, Parameter(group=MODELS, metavar="N")]
Limit = Annotated[int, Parameter(group=LIMITS, metavar="N")]
Bytes = Annotated[int, Parameter(group=LIMITS, metavar="BYTES")]
Seconds = Annotated[float, Parameter(group=TIME_LIMITS, metavar="SECONDS")]


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Configuration of `mien serve`; every field is also a flag.

    Attributes:
        host: address to listen on; by default only this machine can connect.
        port: port to listen on; 0 chooses a free one.
        model: shipped model or path of an .onnx file; repeat the option for several, the first is the default
            [default: all shipped models].
        device: hardware that runs the networks: auto, cpu, cuda, cuda:1, openvino, ...; see docs/devices.md.
        precision: float32 or int8; auto chooses int8 on CPUs on which it is faster, where the model has an int8 file.
        prior: class frequencies for which all predictions of the server are corrected: uniform, or a .json or .csv
            file; see docs/class-priors.md. What the page predicts in the browser itself is not corrected.
        token_file: file with one bearer token per line; the environment variable MIEN_TOKEN may hold another. Without
            any token, every client that can connect has access.
        allow_origin: origins (https://example.org) of web pages that may call the server, besides its own page.
        workers: number of images that are analyzed at a time, each by a process with its own networks; 0: one per core.
            A single one is a thread of the server and runs the networks on all cores. On a GPU, all are threads.
        max_waiting: maximum number of images that are admitted and not yet answered; further ones are answered 429.
        max_waiting_bytes: maximum total size in bytes of the bodies of waiting requests; further ones are answered 429.
        max_images: maximum number of images per request.
        max_body_bytes: maximum size of a request body in bytes.
        max_pixels: maximum width times height of an image; larger ones are rejected before they are decoded.
        max_faces: maximum number of faces per image; the largest ones are analyzed.
        max_detector_size: maximum `detector_size` of a request, in pixels; memory grows with its square.
        max_connections: maximum number of open connections; further ones are answered 503 and closed.
        max_streams: maximum number of WebSocket connections.
        max_message_bytes: maximum size of a WebSocket message.
        max_header_bytes: maximum size of the request line and headers.
        header_timeout_s: time limit for receiving the headers of a request.
        body_timeout_s: time limit for receiving the body of a request.
        request_timeout_s: time limit for analyzing the images of a request.
        write_timeout_s: time limit for a client to read its response; the connection is then closed.
        keep_alive_s: time that a connection stays open between two requests.
        stream_idle_s: time that a WebSocket connection may stay idle.
        shutdown_grace_s: time limit for finishing admitted requests during shutdown.
        log_format: text or json; auto writes text to a terminal and JSON lines elsewhere.

    Raises:
        InputError: when a number is out of its range, or an origin is not scheme and host.
    """

    host: Annotated[str, Parameter(group=ACCESS, metavar="ADDRESS")] = "127.0.0.1"
    port: Annotated[int, Parameter(group=ACCESS, metavar="N")] = 8000
    model: Annotated[tuple[str, ...], Parameter(group=MODELS, metavar="NAME...")] = ()
    device: Annotated[str, Parameter(group=MODELS, metavar="NAME")] = "auto"
    precision: Annotated[Precision, Parameter(group=MODELS)] = "auto"
    prior: Annotated[str | None, Parameter(group=MODELS, metavar="FILE")] = None
    token_file: Annotated[Path | None, Parameter(group=ACCESS, metavar="FILE")] = None
    allow_origin: Annotated[tuple[str, ...], Parameter(group=ACCESS, metavar="ORIGIN...")] = ()
    workers: Count = 0
    max_waiting: Limit = 128
    max_waiting_bytes: Bytes = 256 * 2**20
    max_images: Limit = 16
    max_body_bytes: Bytes = 32 * 2**20
    max_pixels: Limit = 25_000_000
    max_faces: Limit = 100
    max_detector_size: Limit = 1920
    max_connections: Limit = 512
    max_streams: Limit = 16
    max_message_bytes: Bytes = 4 * 2**20
    max_header_bytes: Bytes = 16 * 2**10
    header_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    request_timeout_s: Seconds = 60.0
    write_timeout_s: Seconds = 30.0
    keep_alive_s: Annotated[int, Parameter(group=TIME_LIMITS, metavar="SECONDS")] = 15
    stream_idle_s: Seconds = 300.0
    shutdown_grace_s: Seconds = 30.0
    log_format: LogFormat = "auto"

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int | float):
                continue
            is_zero_allowed = item.name in _ZERO_ALLOWED
            if not (0 < value < math.inf or (value == 0 and is_zero_allowed)):
                expected = "0 or more" if is_zero_allowed else "more than 0"
                raise InputError(f"{item.name} is {value}; expected {expected}.")
        if self.port > 65535:
            raise InputError(f"port is {self.port}; expected 0..65535.")
        object.__setattr__(self, "allow_origin", tuple(map(_normalize_origin, self.allow_origin)))
        for smaller, larger in (("max_images", "max_waiting"), ("max_body_bytes", "max_waiting_bytes")):
            if getattr(self, smaller) > getattr(self, larger):
                raise InputError(
                    f"{smaller} ({getattr(self, smaller)}) is larger than {larger} ({getattr(self, larger)}): "
                    "a request of that size could never be admitted."
                )

    @property
    def worker_count(self) -> int:
        """Number of images that are analyzed at a time."""
        return self.workers or usable_cores()

    @property
    def has_processes(self) -> bool:
        """Whether every worker is a process. A single one needs none, and other devices are shared by threads."""
        return self.worker_count > 1 and find_devices(self.device)[0] == CPU

    @property
    def network_threads(self) -> int:
        """Number of threads per network, such that all workers together use every core once."""
        return max(1, usable_cores() // self.worker_count)


def _normalize_origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without a slash at its end and without the default port."""
    if text in ("*", "null"):
        return text
    match = _ORIGIN.fullmatch(text.lower())
    if not match:
        raise InputError(
            f"allow_origin is {text!r}; expected scheme and host, with the port if it is not the default one, such as "
            "https://example.org or http://localhost:3000."
        )
    scheme, host, port = match.groups(default="")
    return f"{scheme}://{host}{'' if port == _DEFAULT_PORTS.get(scheme) else port}"


def left_out_note(limit: int) -> str:
    """Return the note of a result without the faces beyond a limit."""
    return f"only the {limit} largest faces were analyzed ({flag('max_faces')})."


def flag(name: str) -> str:
    """Return the option of a setting for the message of its limit, `mien serve --max-images`."""
    return f"mien serve --{name.replace('_', '-')}"
