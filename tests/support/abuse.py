"""What the abuse of `mien serve` is made of: the server with small limits, odd clients, frames and images."""

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

from support.images import PORTRAITS, broken_files, encoded, portrait, vast_png
from support.server import ServerProcess

JPEG = encoded(portrait("astronaut"), "JPEG", quality=90)
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: mien.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
CONTINUED, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9

SETTINGS = {
    "max-connections": 48,
    "max-streams": 4,
    "max-waiting": 32,
    "max-waiting-bytes": 2**24,
    "max-images": 4,
    "max-body-bytes": 2**22,
    "max-message-bytes": 300_000,
    "max-pixels": 4_000_000,
    "header-timeout-s": 1.5,
    "body-timeout-s": 1.5,
    "write-timeout-s": 1.5,
    "keep-alive-s": 2,
    "stream-idle-s": 4,
}
FUZZ_S = 4.0
PATIENCE_S = 10.0
"""In which the server must have cut off a client that is slow; its own limits are 1.5 to 4 s."""
MEMORY_MB = 350
"""How much more than after its first image the server may ever take: 16 for bodies, two images of four million
pixels as RGBA with the copies that Pillow makes of them (20 bytes a pixel, 160), and what the networks and the
allocator keep."""


class Server(ServerProcess):
    """`mien serve` with the models that ship, and ways to ask it odd things."""

    first_mb: float
    """Its memory after its first image."""

    @contextmanager
    def stream(self) -> Iterator[ClientConnection]:
        """A WebSocket that is ready."""
        with connect(f"ws://127.0.0.1:{self.port}/v1/stream", proxy=None, max_queue=None) as stream:
            assert json.loads(stream.recv(timeout=20))["type"] == "ready"
            yield stream

    @contextmanager
    def shaken_hands(self, buffer: int | None = None) -> Iterator[socket.socket]:
        """A bare connection that has become a WebSocket; nothing of its messages was read."""
        with closing(self.connect(buffer)) as client:
            client.sendall(UPGRADE)
            came = b""
            while not came.endswith(b"\r\n\r\n"):
                came += (piece := client.recv(1))
                assert piece, came
            assert came.startswith(b"HTTP/1.1 101 ")
            yield client

    def exchange(self, request: bytes, *, ends: bool = False) -> tuple[int, bytes]:
        """Send bytes and give the answer's status and body; (0, what came) when it is no HTTP."""
        with closing(self.connect()) as client:
            try:
                client.sendall(request)
                if ends:
                    client.shutdown(socket.SHUT_WR)
            except OSError:  # it closed before all was sent, perhaps with an answer
                pass
            return read_answer(client)

    def post(self, body: bytes, kind: str = "image/jpeg", query: str = "") -> tuple[int, bytes]:
        head = f"POST /v1/analyze{query} HTTP/1.1\r\nHost: mien.test\r\nContent-Type: {kind}\r\n"
        return self.exchange(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)

    def memory_mb(self, what: str = "VmHWM") -> float:
        """The most resident memory so far, or `VmRSS`, that of now."""
        found = re.search(
            rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        )
        assert found is not None
        return int(found[1]) / 1024

    def must_read_a_portrait(self) -> None:
        """A good image gives its one face, where it is and as it looks."""
        status, body = self.post(JPEG)
        assert status == 200, body
        [face] = json.loads(body)["results"][0]["faces"]
        assert face["expression"]["label"] == "happiness"
        assert np.abs(np.subtract(face["bbox_xyxy"], PORTRAITS["astronaut"])).max() < 10

    @contextmanager
    def staying_well(self) -> Iterator[None]:
        """Whatever the block does: then it is ready and right, within its memory, and has logged no mistake of its own.

        Every line of its log must be JSON.
        """
        logged = self.log.stat().st_size
        yield
        deadline = time.monotonic() + PATIENCE_S
        while (status := self.exchange(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")[0]) != 200:
            assert status == 503, "only the limit of connections may keep anybody out"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.must_read_a_portrait()
        assert self.memory_mb() < self.first_mb + MEMORY_MB
        lines = self.log.read_bytes()[logged:].decode().splitlines()
        mistakes = [
            line for line in lines if "Traceback" in line or '"status": 500' in line or line[0] != "{"
        ]
        assert not mistakes, "\n".join(mistakes)[:3000]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server with small limits, its log in a folder, that ends properly when it is told to."""
    words = [f"--{name}={value}" for name, value in SETTINGS.items()]
    with Server(None, *words, log=folder / "log.jsonl") as server:
        server.must_read_a_portrait()
        server.first_mb = server.memory_mb()
        yield server
        assert server.stop()[0] == 0


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    """The status and body of one answer of HTTP, or 0 and what came until the connection ended."""
    came = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            came += piece
            head, ended, body = came.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            if ended and length and len(body) >= int(length[1]):
                return int(head[9:12]), body[: int(length[1])]
    head, _, body = came.partition(b"\r\n\r\n")
    return (int(head[9:12]), body) if head.startswith(b"HTTP/1.1 ") else (0, came)


def frame(kind: int, data: bytes = b"", *, is_last: bool = True, flags: int = 0, mask: bool = True) -> bytes:
    """A WebSocket's frame as a client sends it, or as none may: `kind` 0 goes on, 1 text, 2 binary, 8 close, 9 ping."""
    head = bytes([is_last << 7 | flags << 4 | kind])
    size = len(data)
    length = (
        bytes([size])
        if size < 126
        else struct.pack(">BH" if size < 2**16 else ">BQ", 126 + (size >= 2**16), size)
    )
    return head + bytes([mask << 7 | length[0]]) + length[1:] + bytes(4 * mask) + data


def progressive_jpeg(side: int, scans: int) -> bytes:
    """A gray JPEG that goes over its (empty) blocks again and again: a second of work for every 20 KB."""

    def segment(marker: int, data: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data

    blocks = (side // 8) ** 2
    bits = ("0" + "1" * 14) * -(-blocks // 32767)  # each says: 32767 blocks without anything
    bits += "1" * (-len(bits) % 8)
    nothing = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    one_code = bytes([1, *[0] * 15])
    head = segment(0xDB, b"\0" + bytes([1] * 64))
    head += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    head += segment(0xC4, b"\0" + one_code + b"\0") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    return b"\xff\xd8" + head + first + (segment(0xDA, b"\1\1\0\1\x3f\0") + nothing) * scans + b"\xff\xd9"


def cut_off_after(client: socket.socket, piece: bytes) -> float:
    """How long a client holds its connection that sends a piece five times a second and takes no answer."""
    began = time.monotonic()
    client.setblocking(False)
    while (held := time.monotonic() - began) < PATIENCE_S:
        time.sleep(0.2)
        try:
            client.send(piece)
            if client.recv(1, socket.MSG_PEEK) == b"":
                break
        except BlockingIOError:
            continue
        except OSError:
            break
    return held


def bad_images() -> dict[str, bytes]:
    sized = JPEG.index(b"\xff\xc0") + 5
    wide = bytearray(encoded(portrait("astronaut")[:64, :64], "PNG"))
    wide[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    wide[29:33] = struct.pack(">I", zlib.crc32(wide[12:29]))
    cuts = {f"cut at {share} %": JPEG[: len(JPEG) * share // 100] for share in (1, 10, 50, 90)}
    return {
        **{name: data for name, data in broken_files().items() if data},
        **cuts,
        "a PNG of 900 million pixels": vast_png(30_000, 30_000),
        "a PNG of 16 million pixels": vast_png(4000, 4000),
        "a PNG that says it is 2^62": bytes(wide),
        "a JPEG that says it is 65535 x 65535": JPEG[:sized] + b"\xff\xff\xff\xff" + JPEG[sized + 4 :],
        "a PPM without pixels": b"P6 100000 100000 255\n",
        "a JPEG of 5000 scans": progressive_jpeg(2000, 5000),
        "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n%%EOF\n",
        "an archive": b"PK\x03\x04" + bytes(500),
    }


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """Bytes with a few of them changed, left out, doubled or cut off."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        place, size = chance.randrange(len(broken) + 1), chance.choice((1, 4, 300))
        piece = chance.choice((b"", chance.randbytes(size), bytes(size), bytes(broken[place : place + size])))
        broken[place : place + chance.choice((0, size))] = piece
    return bytes(broken[: chance.randrange(len(broken) + 1)] if chance.random() < 0.2 else broken)


def seeds() -> list[bytes]:
    """Small images in many formats."""
    small = portrait("astronaut")[60:190, 160:290]
    formats = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "ICO", "TGA")
    return [encoded(small, name) for name in formats]
