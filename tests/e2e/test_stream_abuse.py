"""`/v1/stream` against clients that mean it no good: each is told or closed, and the server goes on."""

from __future__ import annotations

import json
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from support.abuse import (
    BINARY,
    CLOSE,
    CONTINUED,
    FUZZ_S,
    JPEG,
    PATIENCE_S,
    PING,
    SETTINGS,
    TEXT,
    UPGRADE,
    bad_images,
    frame,
    seeds,
    serving,
    spoiled,
)

FLOOD_S = 20.0
"""In which a client that takes no answers must have been cut off: the systems on both sides keep many for it first."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is read from /proc")
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(autouse=True)
def still_serves(server):
    with server.staying_well():
        yield


def test_websockets_that_break_the_protocol(server):
    """Each is closed with the code that the protocol has for it."""
    too_large = bytes(SETTINGS["max-message-bytes"] + 1)
    half = bytes(SETTINGS["max-message-bytes"] // 2 + 1)
    frames = {
        "a huge message": (frame(BINARY, too_large), 1009),
        "a huge text": (frame(TEXT, b"[" * len(too_large)), 1009),
        "a huge message in pieces": (frame(BINARY, half, is_last=False) + frame(CONTINUED, half), 1009),
        "a length of 2^62": (b"\x82\xff" + struct.pack(">Q", 2**62) + bytes(100), 1009),
        "no UTF-8": (frame(TEXT, b"\xff\xfe{}"), 1007),
        "no mask": (frame(TEXT, b"{}", mask=False), 1002),
        "flags": (frame(BINARY, b"x", flags=7), 1002),
        "an unknown kind": (frame(5, b"x"), 1002),
        "a continuation of nothing": (frame(CONTINUED, b"x"), 1002),
        "a message in a message": (frame(BINARY, b"x", is_last=False) + frame(TEXT, b"{}"), 1002),
        "a large ping": (frame(PING, bytes(500)), 1002),
        "a ping in pieces": (frame(PING, b"x", is_last=False), 1002),
        "a close without a reason": (frame(CLOSE, b"\0"), 1002),
        "a close with a wrong code": (frame(CLOSE, struct.pack(">H", 1006)), 1002),
    }
    codes = {}
    for name, (data, _) in frames.items():
        with server.shaken_hands() as client:
            client.sendall(data)
            codes[name] = closing_code(client)
    assert codes == {name: code for name, (_, code) in frames.items()}
    for data, _ in frames.values():
        with closing(server.connect()) as client:  # that does not wait until the server has shaken hands
            client.sendall(UPGRADE + data)
            with suppress(ConnectionResetError):
                assert client.recv(12) in (b"", b"HTTP/1.1 101")


def closing_code(client: socket.socket) -> int:
    """The code with which a WebSocket is closed; 0 when it is closed without a word."""
    came = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            came += piece
            place = came.rfind(b"\x88")
            if 0 <= place <= len(came) - 4:
                return struct.unpack(">H", came[place + 2 : place + 4])[0]
    return 0


def test_messages_that_mean_nothing(server):
    """Each is told what is wrong with it, and the connection goes on."""
    texts = [
        "",
        "null",
        "[]",
        "{",
        '"reset"',
        '{"type": 1}',
        '{"type": "frame"}',
        "\0",
        "[" * 50_000,
        "1" * 5000,
    ]
    times = ["-1", "1e999", "NaN", '"1"', "[]", "null", "9" * 400, "1e300"]
    texts += [f'{{"type": "frame", "timestamp_s": {value}}}' for value in times]
    with server.stream() as stream:
        for text in texts:
            stream.send(text)
            assert json.loads(stream.recv(timeout=20))["type"] == "error", text
        images = bad_images()
        for place, (name, data) in enumerate(images.items()):
            stream.send(data)
            answer = json.loads(stream.recv(timeout=20))
            assert (answer["type"], answer["frame_index"]) == ("error", place), name
        stream.send(b"")
        assert json.loads(stream.recv(timeout=20))["type"] == "error"
        stream.send(JPEG)
        answer = json.loads(stream.recv(timeout=20))
        assert [face["expression"]["label"] for face in answer["faces"]] == ["happiness"]


def flooded_for(client: socket.socket, piece: bytes) -> float:
    """How long a client holds its connection that sends as much as it can and takes no answer."""
    began = time.monotonic()
    client.settimeout(0.5)
    while (held := time.monotonic() - began) < FLOOD_S:
        try:
            client.send(piece)
        except TimeoutError:
            continue
        except OSError:
            break
    return held


def test_websockets_that_take_no_answers_are_cut_off(server):
    """Nothing grows for one that only sends, whatever it sends."""
    floods = {
        "pings": frame(PING, b"x" * 125),
        "texts": frame(TEXT, b"{}"),
        "images": frame(BINARY, b"x"),
    }
    with ExitStack() as stack, ThreadPoolExecutor(len(floods)) as pool:
        runs = {}
        for name, piece in floods.items():
            client = stack.enter_context(server.shaken_hands(buffer=4096))
            runs[name] = pool.submit(flooded_for, client, piece * 500)
        held = {name: run.result() for name, run in runs.items()}
    assert {name: seconds for name, seconds in held.items() if seconds >= FLOOD_S} == {}


def test_websockets_that_say_nothing_are_closed(server):
    nothing = frame(BINARY, is_last=False) + frame(CONTINUED, is_last=False) * 30_000
    with server.shaken_hands() as silent, server.shaken_hands() as half, server.shaken_hands() as endless:
        half.sendall(frame(BINARY, JPEG)[:5000])
        endless.sendall(nothing)
        began = time.monotonic()
        codes = [closing_code(client) for client in (silent, half, endless)]
    assert codes == [1008] * 3
    assert time.monotonic() - began < PATIENCE_S


def test_websockets_that_go_in_the_middle(server):
    images = seeds()
    for turn in range(20):
        try:
            with server.shaken_hands() as client:
                client.sendall(frame(BINARY, images[turn % len(images)])[: None if turn % 2 else 1000])
                if turn % 3:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        except AssertionError:  # the places of those that went are not all free again
            time.sleep(0.1)
    with closing(server.connect()) as client:
        client.sendall(UPGRADE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_more_websockets_than_it_takes(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(server.connect())) for _ in range(24)]
        for client in clients:
            client.sendall(UPGRADE)
        statuses = [read_status(client) for client in clients]
    assert statuses.count(101) == SETTINGS["max-streams"]
    assert statuses.count(503) == len(clients) - SETTINGS["max-streams"]


def read_status(client: socket.socket) -> int:
    return int(client.recv(12)[9:])


def test_spoiled_messages(server):
    """Each image has one answer, in order; texts may have one."""
    chance, images = random.Random(6), seeds()
    texts = [b'{"type": "frame", "timestamp_s": 1.5}', b'{"type": "reset"}']
    until, sent, answered = time.monotonic() + FUZZ_S, 0, []
    with server.stream() as stream:
        while time.monotonic() < until and sent < 300:
            if chance.random() < 0.3:
                stream.send(spoiled(chance.choice(texts), chance).decode("utf-8", "replace"))
            else:
                stream.send(spoiled(chance.choice(images), chance))
                sent += 1
        while len(answered) < sent:
            answer = json.loads(stream.recv(timeout=20))
            assert answer["type"] in ("frame", "error", "dropped", "reset")
            answered += [answer["frame_index"]] if "frame_index" in answer else []
    assert sorted(answered) == list(range(sent))
    with closing(server.connect()) as client:
        client.sendall(UPGRADE)
        assert read_status(client) == 101
        with suppress(OSError):  # closed, as it should be
            for _ in range(300):
                client.sendall(spoiled(frame(BINARY, images[0][:200]), chance))
