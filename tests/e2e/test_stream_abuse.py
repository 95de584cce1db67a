"""Invalid and hostile WebSocket clients of `/v1/stream`: errors are reported, and the server stays available."""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from support.abuse import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FUZZ_S,
    JPEG,
    PING,
    SETTINGS,
    TEXT,
    TIMEOUT_S,
    UPGRADE,
    bad_images,
    corrupted,
    frame,
    seed_images,
    serving,
)
from support.waiting import wait_until

FLOOD_TIMEOUT_S = 90.0
"""Time limit for disconnecting a client that does not read; socket buffers fill up first."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not Path("/proc/self/status").exists():
        pytest.skip("measuring memory needs /proc")
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(autouse=True)
def check_server_afterwards(server):
    with server.check_health_afterwards():
        yield


def test_protocol_violations_are_closed_with_the_standard_code(server):
    too_large = bytes(SETTINGS["max-message-bytes"] + 1)
    half = bytes(SETTINGS["max-message-bytes"] // 2 + 1)
    frames = {
        "a huge message": (frame(BINARY, too_large), 1009),
        "a huge text": (frame(TEXT, b"[" * len(too_large)), 1009),
        "a huge fragmented message": (frame(BINARY, half, is_final=False) + frame(CONTINUATION, half), 1009),
        "a length of 2^62": (b"\x82\xff" + struct.pack(">Q", 2**62) + bytes(100), 1009),
        "invalid UTF-8": (frame(TEXT, b"\xff\xfe{}"), 1007),
        "no mask": (frame(TEXT, b"{}", mask=False), 1002),
        "reserved flags": (frame(BINARY, b"x", flags=7), 1002),
        "an unknown opcode": (frame(5, b"x"), 1002),
        "a continuation without a message": (frame(CONTINUATION, b"x"), 1002),
        "a message inside a fragmented message": (frame(BINARY, b"x", is_final=False) + frame(TEXT, b"{}"), 1002),
        "a large ping": (frame(PING, bytes(500)), 1002),
        "a fragmented ping": (frame(PING, b"x", is_final=False), 1002),
        "a close without a reason": (frame(CLOSE, b"\0"), 1002),
        "a close with a reserved code": (frame(CLOSE, struct.pack(">H", 1006)), 1002),
    }
    codes = {}
    for name, (data, _) in frames.items():
        with server.raw_websocket() as client:
            client.sendall(data)
            codes[name] = closing_code(client)
    assert codes == {name: code for name, (_, code) in frames.items()}
    for data, _ in frames.values():
        # without waiting for the handshake
        with closing(server.connect()) as client:
            client.sendall(UPGRADE + data)
            with suppress(ConnectionResetError):
                assert client.recv(12) in (b"", b"HTTP/1.1 101")


def closing_code(client: socket.socket) -> int:
    """Return the code of the close frame; 0 if the connection closes without one."""
    data = b""
    with suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            data += chunk
            start = data.rfind(b"\x88")
            if 0 <= start <= len(data) - 4:
                return struct.unpack(">H", data[start + 2 : start + 4])[0]
    return 0


def test_invalid_messages_are_reported_and_the_connection_stays_open(server):
    texts = ["", "null", "[]", "{", '"reset"', '{"type": 1}', '{"type": "frame"}', "\0", "[" * 50_000, "1" * 5000]
    times = ["-1", "1e999", "NaN", '"1"', "[]", "null", "9" * 400, "1e300"]
    texts += [f'{{"type": "frame", "timestamp_s": {value}}}' for value in times]
    with server.stream() as stream:
        for text in texts:
            stream.send(text)
            assert json.loads(stream.recv(timeout=20))["type"] == "error", text
        images = bad_images()
        for index, (name, data) in enumerate(images.items()):
            stream.send(data)
            answer = json.loads(stream.recv(timeout=20))
            assert (answer["type"], answer["frame_index"]) == ("error", index), name
        stream.send(b"")
        assert json.loads(stream.recv(timeout=20))["type"] == "error"
        stream.send(JPEG)
        answer = json.loads(stream.recv(timeout=20))
        assert [face["expression"]["label"] for face in answer["faces"]] == ["happiness"]


def time_until_closed(client: socket.socket, chunk: bytes) -> float:
    """Send as fast as possible without reading; return the seconds until the server disconnects."""
    started = time.monotonic()
    client.settimeout(0.5)
    while (elapsed := time.monotonic() - started) < FLOOD_TIMEOUT_S:
        try:
            client.send(chunk)
        except TimeoutError:
            continue
        except OSError:
            break
    return elapsed


def test_clients_that_do_not_read_are_disconnected(server):
    floods = {"pings": frame(PING, b"x" * 125), "texts": frame(TEXT, b"{}"), "images": frame(BINARY, b"x")}
    with ExitStack() as stack, ThreadPoolExecutor(len(floods)) as pool:
        runs = {}
        for name, chunk in floods.items():
            client = stack.enter_context(server.raw_websocket(buffer=4096))
            runs[name] = pool.submit(time_until_closed, client, chunk * 500)
        durations = {name: run.result() for name, run in runs.items()}
    assert {name: seconds for name, seconds in durations.items() if seconds >= FLOOD_TIMEOUT_S} == {}


def test_idle_connections_are_closed(server):
    empty_fragments = frame(BINARY, is_final=False) + frame(CONTINUATION, is_final=False) * 30_000
    with server.raw_websocket() as silent, server.raw_websocket() as partial, server.raw_websocket() as endless:
        partial.sendall(frame(BINARY, JPEG)[:5000])
        endless.sendall(empty_fragments)
        started = time.monotonic()
        codes = [closing_code(client) for client in (silent, partial, endless)]
    assert codes == [1008] * 3
    assert time.monotonic() - started < TIMEOUT_S


def test_survives_clients_that_disconnect_early(server):
    images = seed_images()
    for turn in range(20):
        try:
            with server.raw_websocket() as client:
                client.sendall(frame(BINARY, images[turn % len(images)])[: None if turn % 2 else 1000])
                if turn % 3:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        # the server may not have released the places of earlier clients yet
        except AssertionError:
            time.sleep(0.1)
    with closing(server.connect()) as client:
        client.sendall(UPGRADE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connections_over_the_limit_are_rejected(server):
    # the server releases the places of earlier clients when it notices that they are gone
    wait_until(lambda: b"mien_streams 0.0" in urlopen(f"{server.url}/metrics").read(), timeout_s=60)
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(server.connect())) for _ in range(24)]
        for client in clients:
            client.sendall(UPGRADE)
        statuses = [read_status(client) for client in clients]
    assert statuses.count(101) == SETTINGS["max-streams"]
    assert statuses.count(503) == len(clients) - SETTINGS["max-streams"]


def read_status(client: socket.socket) -> int:
    return int(client.recv(12)[9:])


def test_every_corrupted_image_has_one_answer(server):
    rng = random.Random(6)
    images = seed_images()
    texts = [b'{"type": "frame", "timestamp_s": 1.5}', b'{"type": "reset"}']
    deadline = time.monotonic() + FUZZ_S
    sent = 0
    answered = []
    with server.stream() as stream:
        while time.monotonic() < deadline and sent < 300:
            if rng.random() < 0.3:
                stream.send(corrupted(rng.choice(texts), rng).decode("utf-8", "replace"))
            else:
                stream.send(corrupted(rng.choice(images), rng))
                sent += 1
        while len(answered) < sent:
            answer = json.loads(stream.recv(timeout=20))
            assert answer["type"] in ("frame", "error", "dropped", "reset")
            answered += [answer["frame_index"]] if "frame_index" in answer else []
    assert sorted(answered) == list(range(sent))
    with closing(server.connect()) as client:
        client.sendall(UPGRADE)
        assert read_status(client) == 101
        with suppress(OSError):
            for _ in range(300):
                client.sendall(corrupted(frame(BINARY, images[0][:200]), rng))
