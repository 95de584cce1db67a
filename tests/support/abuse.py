"""Abuse tests of `mien serve`: a server with small limits, misbehaving clients, WebSocket frames and bad images."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
from websockets.sync.client import ClientConnection, connect

from support.images import PORTRAITS, corrupt_files, encoded, large_png, portrait
from support.server import ServerProcess
from support.waiting import wait_until

JPEG = encoded(portrait("astronaut"), "JPEG", quality=90)
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: mien.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
CONTINUATION = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9

SETTINGS = {
    "max-connections": 48,
    "max-streams": 4,
    "max-waiting": 32,
    "max-waiting-bytes": 2**24,
    "max-images": 4,
    "max-body-bytes": 2**22,
    "max-message-bytes": 300_000,
    "max-pixels": 4_000_000,
    "header-timeout-s": 3,
    "body-timeout-s": 1.5,
    "write-timeout-s": 1.5,
    "keep-alive-s": 2,
    "stream-idle-s": 4,
}
FUZZ_S = 4.0
TIMEOUT_S = 10.0
"""Time limit for the server to disconnect a slow client; its own limits are 1.5 to 4 s."""
MAX_MEMORY_MB = 350
"""Maximum growth of the server's memory after its first image: 16 MB of bodies, 160 MB for two RGBA images of four
million pixels with Pillow's copies (20 bytes per pixel), and the buffers of the networks and the allocator."""


class Server(ServerProcess):
    """`mien serve` with the shipped models, and methods that send valid and invalid requests."""

    baseline_mb: float
    """Memory after the first image."""

    @contextmanager
    def stream(self) -> Iterator[ClientConnection]:
        """Open a WebSocket and wait until it is ready."""
        with connect(f"ws://127.0.0.1:{self.port}/v1/stream", proxy=None, max_queue=None) as stream:
            assert json.loads(stream.recv(timeout=20))["type"] == "ready"
            yield stream

    @contextmanager
    def raw_websocket(self, buffer: int | None = None) -> Iterator[socket.socket]:
        """Open a TCP connection and complete the WebSocket handshake, without reading any messages."""
        with closing(self.connect(buffer)) as client:
            client.sendall(UPGRADE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += (byte := client.recv(1))
                assert byte, head
            assert head.startswith(b"HTTP/1.1 101 ")
            yield client

    def exchange(self, request: bytes, *, shutdown: bool = False) -> tuple[int, bytes]:
        """Send bytes and return the status and body of the response; status 0 if it is not HTTP."""
        with closing(self.connect()) as client:
            # the server may close the connection first, with a response
            with suppress(OSError):
                client.sendall(request)
                if shutdown:
                    client.shutdown(socket.SHUT_WR)
            return read_response(client)

    def post(self, body: bytes, content_type: str = "image/jpeg", query: str = "") -> tuple[int, bytes]:
        """Post a body to /v1/analyze and return the status and body of the response."""
        head = f"POST /v1/analyze{query} HTTP/1.1\r\nHost: mien.test\r\nContent-Type: {content_type}\r\n"
        return self.exchange(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)

    def check_portrait(self) -> None:
        """Check the face that the server predicts for a valid image."""
        status, body = self.post(JPEG)
        assert status == 200, body
        [face] = json.loads(body)["results"][0]["faces"]
        assert face["expression"]["label"] == "happiness"
        assert np.abs(np.subtract(face["bbox_xyxy"], PORTRAITS["astronaut"])).max() < 10

    @contextmanager
    def check_health_afterwards(self) -> Iterator[None]:
        """Check after the block that the server is ready, correct, within its memory limit, and logged no exception."""
        log_start = self.log.stat().st_size
        yield
        wait_until(self.is_ready, timeout_s=TIMEOUT_S)
        self.check_portrait()
        assert self.memory_mb("VmHWM") < self.baseline_mb + MAX_MEMORY_MB
        lines = self.log.read_bytes()[log_start:].decode().splitlines()
        errors = [line for line in lines if "Traceback" in line or '"status": 500' in line or line[0] != "{"]
        assert not errors, "\n".join(errors)[:3000]

    def is_ready(self) -> bool:
        """Return whether the server is ready; if not, the connection limit must be the reason."""
        status, _ = self.exchange(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status in (200, 503)
        return status == 200


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a server with small limits and its log in a folder; check that it exits with 0."""
    options = [f"--{name}={value}" for name, value in SETTINGS.items()]
    with Server(None, *options, log=folder / "log.jsonl") as server:
        server.check_portrait()
        server.baseline_mb = server.memory_mb("VmHWM")
        yield server
        assert server.stop()[0] == 0


def read_response(client: socket.socket) -> tuple[int, bytes]:
    """Return the status and body of one HTTP response; status 0 and all bytes if it is not HTTP."""
    data = b""
    with suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            data += chunk
            head, separator, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            if separator and length and len(body) >= int(length[1]):
                return int(head[9:12]), body[: int(length[1])]
    head, _, body = data.partition(b"\r\n\r\n")
    return (int(head[9:12]), body) if head.startswith(b"HTTP/1.1 ") else (0, data)


def frame(opcode: int, data: bytes = b"", *, is_final: bool = True, flags: int = 0, mask: bool = True) -> bytes:
    """Encode a WebSocket frame of a client; it may be invalid."""
    head = bytes([is_final << 7 | flags << 4 | opcode])
    size = len(data)
    length = bytes([size]) if size < 126 else struct.pack(">BH" if size < 2**16 else ">BQ", 126 + (size >= 2**16), size)
    return head + bytes([mask << 7 | length[0]]) + length[1:] + bytes(4 * mask) + data


def progressive_jpeg(side: int, scans: int) -> bytes:
    """Return a grayscale JPEG with many empty scans; every 20 KB take a second to decode."""

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    blocks = (side // 8) ** 2
    # each code stands for 32767 empty blocks
    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    empty_scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    one_code = bytes([1, *[0] * 15])
    head = segment(0xDB, b"\0" + bytes([1] * 64))
    head += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    head += segment(0xC4, b"\0" + one_code + b"\0") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    return b"\xff\xd8" + head + first + (segment(0xDA, b"\1\1\0\1\x3f\0") + empty_scan) * scans + b"\xff\xd9"


def time_until_closed(client: socket.socket, chunk: bytes) -> float:
    """Send a chunk five times per second without reading; return the seconds until the server disconnects."""
    started = time.monotonic()
    client.setblocking(False)
    while (elapsed := time.monotonic() - started) < TIMEOUT_S:
        time.sleep(0.2)
        try:
            client.send(chunk)
            if client.recv(1, socket.MSG_PEEK) == b"":
                break
        except BlockingIOError:
            continue
        except OSError:
            break
    return elapsed


def bad_images() -> dict[str, bytes]:
    """Return files that are not readable images, by description."""
    size_offset = JPEG.index(b"\xff\xc0") + 5
    wide = bytearray(encoded(portrait("astronaut")[:64, :64], "PNG"))
    wide[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    wide[29:33] = struct.pack(">I", zlib.crc32(wide[12:29]))
    truncated = {f"truncated at {share} %": JPEG[: len(JPEG) * share // 100] for share in (1, 10, 50, 90)}
    return {
        **{name: data for name, data in corrupt_files().items() if data},
        **truncated,
        "a PNG of 900 million pixels": large_png(30_000, 30_000),
        "a PNG of 16 million pixels": large_png(4000, 4000),
        "a PNG with a declared size of 2^62 pixels": bytes(wide),
        "a JPEG with a declared size of 65535 x 65535": JPEG[:size_offset]
        + b"\xff\xff\xff\xff"
        + JPEG[size_offset + 4 :],
        "a PPM without pixel data": b"P6 100000 100000 255\n",
        "a JPEG with 5000 scans": progressive_jpeg(2000, 5000),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n%%EOF\n",
        "a ZIP archive": b"PK\x03\x04" + bytes(500),
    }


def corrupted(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with random changes, deletions, repetitions or truncation."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        start = rng.randrange(len(result) + 1)
        size = rng.choice((1, 4, 300))
        replacement = rng.choice((b"", rng.randbytes(size), bytes(size), bytes(result[start : start + size])))
        result[start : start + rng.choice((0, size))] = replacement
    return bytes(result[: rng.randrange(len(result) + 1)] if rng.random() < 0.2 else result)


def seed_images() -> list[bytes]:
    """Return small images in many formats."""
    small = portrait("astronaut")[60:190, 160:290]
    formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "ICO", "TGA")
    return [encoded(small, name) for name in formats]
