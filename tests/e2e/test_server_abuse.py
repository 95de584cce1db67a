"""`mien serve` against requests that mean it no good: it refuses them, goes on serving, and stays within its memory."""

from __future__ import annotations

import io
import json
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from PIL import Image

from support.abuse import (
    FUZZ_S,
    JPEG,
    PATIENCE_S,
    SETTINGS,
    UPGRADE,
    bad_images,
    cut_off_after,
    read_answer,
    seeds,
    serving,
    spoiled,
)
from support.images import encoded

ANALYZE = "POST /v1/analyze HTTP/1.1\r\nHost: mien.test\r\n"


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


def must_refuse(answers, *, may_be_silent=False):
    """Every answer is a 4xx with a reason, or, where bytes are no HTTP, the end of the connection."""
    wrong = {}
    for name, (status, body) in answers.items():
        if may_be_silent and (status, body) == (0, b""):
            continue
        is_told = b"Invalid HTTP request received." in body or json_of(body).get("error", {}).get("message")
        if not (400 <= status < 500 and is_told):
            wrong[name] = status, body[:200]
    assert not wrong


def json_of(body):
    try:
        return json.loads(body)
    except ValueError:
        return {}


def part(data: bytes, disposition: str = 'form-data; name="images"; filename="a.jpg"') -> bytes:
    return f"--B\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"


def test_bodies_of_a_wrong_kind(server):
    form = "multipart/form-data; boundary=B"
    deep = "multipart/mixed; boundary=C\r\n\r\n--C\r\n" * 50
    bodies = {
        "nothing": (b"", "image/jpeg"),
        "nothing in a form": (b"", form),
        "no kind": (JPEG, ""),
        "text": (JPEG, "text/plain"),
        "JSON": (b'{"images": []}', "application/json"),
        "a kind of 5 KB": (JPEG, "x" * 5000),
        "a form that says it is an image": (part(JPEG) + b"--B--\r\n", "image/jpeg"),
        "an image that says it is a form": (JPEG, form),
        "no boundary": (part(JPEG) + b"--B--\r\n", "multipart/form-data"),
        "an empty boundary": (part(JPEG), "multipart/form-data; boundary="),
        "a boundary of 5 KB": (part(JPEG), "multipart/form-data; boundary=" + "x" * 5000),
        "another boundary": (part(JPEG), "multipart/form-data; boundary=C"),
        "cut off": (part(JPEG)[:60], form),
        "a part without a name": (part(JPEG, "form-data") + b"--B--\r\n", form),
        "a part without anything": (b"--B\r\n\r\n\r\n--B--\r\n", form),
        "another field": (part(JPEG, 'form-data; name="image"; filename="a"') + b"--B--\r\n", form),
        "a text field": (part(b"cat", 'form-data; name="images"') + b"--B--\r\n", form),
        "a text field of 2 MB": (part(bytes(2**21), 'form-data; name="images"') + b"--B--\r\n", form),
        "too many images": (part(b"x") * 5 + b"--B--\r\n", form),
        "parts without end": (part(b"") * 20_000, form),
        "fields without end": (part(b"", 'form-data; name="a"') * 20_000, form),
        "headers of parts without end": (b"--B\r\n" + b"a: b\r\n" * 200_000, form),
        "a name of 2 MB": (part(JPEG, f'form-data; name="{"a" * 2**21}"; filename="a"') + b"--B--\r\n", form),
        "forms in forms": (part(JPEG, f"form-data\r\nContent-Type: {deep}") + b"--B--\r\n", form),
    }
    must_refuse({name: server.post(*body) for name, body in bodies.items()})


def test_names_in_odd_encodings(server):
    """A file's name comes back in the answer, or the form is refused: it is never our mistake."""
    odd = [
        rb"\ud800",
        b"+2AA-",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"a\x00b",
        b"\\x",
        b"../../etc/passwd",
        b"a" * 3000,
    ]
    charsets = (
        "utf-8 utf-7 utf-16 unicode_escape raw_unicode_escape punycode idna undefined rot13 zlib cp037 none"
    )
    statuses = {}
    for charset in charsets.split():
        for place, name in enumerate(odd):
            field = (
                b'--B\r\nContent-Disposition: form-data; name="images"; filename="%s"\r\n\r\nx\r\n--B--\r\n'
                % name
            )
            statuses[charset, place] = server.post(
                field, f"multipart/form-data; boundary=B; charset={charset}"
            )[0]
    assert {status for status in statuses.values() if status not in (200, 400, 422)} == set(), statuses


def test_bodies_that_are_too_large(server):
    chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
    head = f"{ANALYZE}Content-Type: image/jpeg\r\n".encode()
    declared = {
        size: server.exchange(head + b"Content-Length: %d\r\n\r\n" % size) for size in (2**22 + 1, 10**15)
    }
    streamed = server.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 100)
    sent = server.post(bytes(2**22 + 1))
    must_refuse({**declared, "sent": sent}, may_be_silent=True)
    must_refuse({"streamed": streamed}, may_be_silent=True)
    assert {status for status, _ in declared.values()} == {413}


def test_bad_images_are_not_kept(server):
    """The bytes of an image that cannot be read are let go with its answer: 160 MB of them leave nothing behind."""
    before_mb = server.memory_mb("VmRSS")
    noise = random.Random(1).randbytes(2**22)
    assert {server.post(noise)[0] for _ in range(40)} == {422}
    assert server.memory_mb("VmRSS") - before_mb < 60


def test_requests_that_are_no_http(server):
    requests = {
        "noise": random.Random(2).randbytes(5000),
        "TLS": bytes.fromhex("16030100f8010000f40303") + bytes(240),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n",
        "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        "zeros": bytes(10_000),
        "a line of 100 KB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        "a header of 100 KB": b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"a" * 100_000,
        "5000 headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: y\r\n" * 5000,
        "a header with a zero": b"GET / HTTP/1.1\r\nHost: x\r\nx: a\0b\r\n\r\n",
        "a header without a name": b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
        "two lengths": f"{ANALYZE}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".encode(),
        "a length below zero": f"{ANALYZE}Content-Length: -1\r\n\r\n".encode(),
        "a length in words": f"{ANALYZE}Content-Length: ten\r\n\r\n".encode(),
        "a chunk below zero": f"{ANALYZE}Transfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n".encode(),
        "a chunk of no size": f"{ANALYZE}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n".encode(),
        "another encoding": f"{ANALYZE}Transfer-Encoding: gzip\r\n\r\n".encode(),
        "an endless chunk size": f"{ANALYZE}Transfer-Encoding: chunked\r\n\r\n".encode() + b"0" * 50_000,
    }
    must_refuse({name: server.exchange(data) for name, data in requests.items()}, may_be_silent=True)


def test_addresses_that_lead_nowhere(server):
    paths = [
        "/%00",
        "/%ff",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/models/../../x",
        "/models/%2e%2e/x",
        "/v1/",
    ]
    paths += ["/" + "a/" * 4000, "/v1/analyze/", "/" + "%41" * 3000, "/docs", "/\\..\\..\\x"]
    requests = {path: f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths}
    requests |= {
        verb: f"{verb} /v1/analyze HTTP/1.1\r\nHost: x\r\n\r\n".encode() for verb in ("GET", "PUT", "MAKE")
    }
    must_refuse({name: server.exchange(data) for name, data in requests.items()})
    words = [
        "max_faces=0",
        "max_faces=-1",
        "max_faces=nan",
        "max_faces=9e99",
        "max_faces=" + "9" * 5000,
        "pose=maybe",
    ]
    words += ["model=", "model=%00", "model=../../etc/passwd", "model=%ff%fe", "model=" + "a" * 5000]
    must_refuse({word: server.post(JPEG, query=f"?{word}") for word in words})
    upgrades = {
        path: server.exchange(UPGRADE.replace(b"/v1/stream", path.encode()))
        for path in ("/", "/no", "/models/x")
    }
    assert {status for status, _ in upgrades.values()} <= {403, 404}


def test_images_that_are_none(server):
    files = bad_images()
    assert max(map(len, files.values())) < 300_000
    must_refuse({name: server.post(data) for name, data in files.items()})
    form = b"".join(part(files[name]) for name in list(files)[:3]) + part(JPEG) + b"--B--\r\n"
    status, body = server.post(form, "multipart/form-data; boundary=B")
    assert status == 200
    assert [bool(result["error"]) for result in json.loads(body)["results"]] == [True, True, True, False]


def test_images_at_the_limit(server):
    """Valid ones that cost much are read, many at once, one frame of an animation, within the memory."""
    frames = [Image.new("P", (1000, 1000), color) for color in range(30)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    costly = [
        encoded(Image.new("RGBA", (2000, 2000)), "PNG"),
        encoded(Image.new("CMYK", (2000, 2000)), "JPEG"),
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(server.post, [file.getvalue(), *costly * 4]))
    assert {status for status, _ in answers} == {200}, answers


def test_slow_clients_are_cut_off_and_hold_nobody_up(server):
    body = f"{ANALYZE}Content-Type: image/jpeg\r\n".encode()
    get, length = b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 100000000\r\n\r\n"
    slow = {
        "silent": (b"", b""),
        "headers": (get, b"x: y\r\n"),
        "one long header": (get + b"x: ", b"y"),
        "headers of a second request": (get + b"\r\nGET /healthz", b"z"),
        "a body": (body + b"Content-Length: 100000\r\n\r\n", b"z"),
        "a body in chunks": (body + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nz\r\n"),
        "a body that was refused": (body + length, b"z"),
        "a body that nobody wants": (get + length, b"z"),
        "an upgrade": (UPGRADE[:-2], b""),
        "a reader of large files": (b"GET /models/expression.onnx HTTP/1.1\r\nHost: x\r\n\r\n", b"z"),
    }
    with ExitStack() as stack, ThreadPoolExecutor(len(slow)) as pool:
        runs = {}
        for name, (first, piece) in slow.items():
            client = stack.enter_context(closing(server.connect(buffer=4096)))
            client.sendall(first)
            runs[name] = pool.submit(cut_off_after, client, piece)
        for _ in range(3):
            server.must_read_a_portrait()
        held = {name: run.result() for name, run in runs.items()}
    assert {name: seconds for name, seconds in held.items() if seconds >= PATIENCE_S} == {}


def test_clients_that_go_in_the_middle(server):
    whole = f"{ANALYZE}Content-Type: image/jpeg\r\nContent-Length: {len(JPEG)}\r\n\r\n".encode() + JPEG
    for place in (0, 10, 150, 3000, len(whole)):
        assert server.exchange(whole[:place], ends=True)[0] in (0, 200, 400, 408)
    for place in (10, 150, 3000, len(whole), -1):
        with closing(server.connect()) as client:
            client.sendall(UPGRADE if place < 0 else whole[:place])
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # ends with a reset


def test_more_connections_than_it_takes(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(server.connect())) for _ in range(200)]
        statuses = []
        for client in clients:
            with suppress(OSError):
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            statuses.append(read_answer(client)[0])
    assert set(statuses) <= {0, 200, 503}  # 0: it closed while the request was on its way
    assert 1 <= statuses.count(200) <= SETTINGS["max-connections"]


def test_spoiled_bodies(server):
    chance, images, statuses = random.Random(5), seeds(), []
    until = time.monotonic() + FUZZ_S
    while time.monotonic() < until and len(statuses) < 400:
        image = chance.choice(images)
        if chance.random() < 0.3:
            form = spoiled(part(image) + part(JPEG[:2000]) + b"--B--\r\n", chance)
            statuses.append(server.post(form, "multipart/form-data; boundary=B")[0])
        elif chance.random() < 0.2:
            request = (
                f"{ANALYZE}Content-Type: image/png\r\nContent-Length: 300\r\n\r\n".encode() + image[:300]
            )
            statuses.append(server.exchange(spoiled(request, chance), ends=True)[0])
        else:
            statuses.append(server.post(spoiled(image, chance))[0])
    assert set(statuses) <= {0, 200, 400, 404, 405, 408, 413, 415, 422}
    assert len(set(statuses)) >= 3
