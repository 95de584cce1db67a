"""Invalid and hostile HTTP requests to `mien serve`: it rejects them, stays available and within its memory limit."""

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
    SETTINGS,
    TIMEOUT_S,
    UPGRADE,
    bad_images,
    corrupted,
    read_response,
    seed_images,
    serving,
    time_until_closed,
)
from support.images import encoded

ANALYZE = "POST /v1/analyze HTTP/1.1\r\nHost: mien.test\r\n"


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


def check_rejected(responses, *, may_disconnect=False):
    """Check that every response is a 4xx with a message, or a closed connection where that is allowed."""
    unexpected = {}
    for name, (status, body) in responses.items():
        if may_disconnect and (status, body) == (0, b""):
            continue
        has_message = b"Invalid HTTP request received." in body or json_of(body).get("error", {}).get("message")
        if not (400 <= status < 500 and has_message):
            unexpected[name] = status, body[:200]
    assert not unexpected


def json_of(body):
    try:
        return json.loads(body)
    except ValueError:
        return {}


def part(data: bytes, disposition: str = 'form-data; name="images"; filename="a.jpg"') -> bytes:
    return f"--B\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"


def test_rejects_bodies_of_wrong_content_type(server):
    form = "multipart/form-data; boundary=B"
    deep = "multipart/mixed; boundary=C\r\n\r\n--C\r\n" * 50
    bodies = {
        "empty": (b"", "image/jpeg"),
        "an empty form": (b"", form),
        "no content type": (JPEG, ""),
        "text": (JPEG, "text/plain"),
        "JSON": (b'{"images": []}', "application/json"),
        "a content type of 5 KB": (JPEG, "x" * 5000),
        "a form declared as an image": (part(JPEG) + b"--B--\r\n", "image/jpeg"),
        "an image declared as a form": (JPEG, form),
        "no boundary": (part(JPEG) + b"--B--\r\n", "multipart/form-data"),
        "an empty boundary": (part(JPEG), "multipart/form-data; boundary="),
        "a boundary of 5 KB": (part(JPEG), "multipart/form-data; boundary=" + "x" * 5000),
        "a wrong boundary": (part(JPEG), "multipart/form-data; boundary=C"),
        "a truncated form": (part(JPEG)[:60], form),
        "a part without a name": (part(JPEG, "form-data") + b"--B--\r\n", form),
        "an empty part": (b"--B\r\n\r\n\r\n--B--\r\n", form),
        "an unknown field": (part(JPEG, 'form-data; name="image"; filename="a"') + b"--B--\r\n", form),
        "a text field": (part(b"cat", 'form-data; name="images"') + b"--B--\r\n", form),
        "a text field of 2 MB": (part(bytes(2**21), 'form-data; name="images"') + b"--B--\r\n", form),
        "too many images": (part(b"x") * 5 + b"--B--\r\n", form),
        "20,000 parts": (part(b"") * 20_000, form),
        "20,000 fields": (part(b"", 'form-data; name="a"') * 20_000, form),
        "200,000 part headers": (b"--B\r\n" + b"a: b\r\n" * 200_000, form),
        "a field name of 2 MB": (part(JPEG, f'form-data; name="{"a" * 2**21}"; filename="a"') + b"--B--\r\n", form),
        "nested forms": (part(JPEG, f"form-data\r\nContent-Type: {deep}") + b"--B--\r\n", form),
    }
    check_rejected({name: server.post(*body) for name, body in bodies.items()})


def test_file_names_in_unusual_encodings_never_cause_a_500(server):
    names = [rb"\ud800", b"+2AA-", b"\xff\xfe", b"\xed\xa0\x80", b"a\x00b", b"\\x", b"../../etc/passwd", b"a" * 3000]
    charsets = "utf-8 utf-7 utf-16 unicode_escape raw_unicode_escape punycode idna undefined rot13 zlib cp037 none"
    statuses = {}
    for charset in charsets.split():
        for index, name in enumerate(names):
            field = b'--B\r\nContent-Disposition: form-data; name="images"; filename="%s"\r\n\r\nx\r\n--B--\r\n' % name
            statuses[charset, index] = server.post(field, f"multipart/form-data; boundary=B; charset={charset}")[0]
    assert {status for status in statuses.values() if status not in (200, 400, 422)} == set(), statuses


def test_rejects_large_bodies(server):
    chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
    head = f"{ANALYZE}Content-Type: image/jpeg\r\n".encode()
    declared = {size: server.exchange(head + b"Content-Length: %d\r\n\r\n" % size) for size in (2**22 + 1, 10**15)}
    streamed = server.exchange(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 100)
    sent = server.post(bytes(2**22 + 1))
    check_rejected({**declared, "sent": sent}, may_disconnect=True)
    check_rejected({"streamed": streamed}, may_disconnect=True)
    assert {status for status, _ in declared.values()} == {413}


def test_unreadable_images_are_released_after_the_response(server):
    before_mb = server.memory_mb("VmRSS")
    noise = random.Random(1).randbytes(2**22)
    assert {server.post(noise)[0] for _ in range(40)} == {422}
    assert server.memory_mb("VmRSS") - before_mb < 60


def test_rejects_malformed_http(server):
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
        "an endless trailer": f"{ANALYZE}Transfer-Encoding: chunked\r\n\r\n0\r\nx: ".encode() + b"a" * 100_000,
        "5000 trailers": f"{ANALYZE}Transfer-Encoding: chunked\r\n\r\n0\r\n".encode() + b"x: y\r\n" * 5000,
        "two hosts": b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "an endless chunk size": f"{ANALYZE}Transfer-Encoding: chunked\r\n\r\n".encode() + b"0" * 50_000,
    }
    check_rejected({name: server.exchange(data) for name, data in requests.items()}, may_disconnect=True)


def test_trailers_do_not_change_the_headers(server):
    head = f"{ANALYZE}Content-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n{len(JPEG):x}\r\n".encode()
    trailers = b"\r\n0\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n\r\n"
    assert server.exchange(head + JPEG + trailers)[0] == 200


def test_pipelined_requests_are_answered_in_order(server):
    paths = ["/healthz", "/readyz", "/v1/nothing", "/healthz"]
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths]
    requests.append("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    with closing(server.connect()) as client:
        client.sendall("".join(requests).encode())
        data = b"".join(iter(lambda: client.recv(65536), b""))
    heads = data.split(b"HTTP/1.1 ")[1:]
    assert [head[:3] for head in heads] == [b"200", b"200", b"404", b"200", b"200"]
    assert [b'"ready"' in head for head in heads] == [False, True, False, False, True]


def test_rejects_invalid_paths_methods_and_parameters(server):
    paths = ["/%00", "/%ff", "/..%2f..%2fetc/passwd", "//etc/passwd", "/models/../../x", "/models/%2e%2e/x", "/v1/"]
    paths += ["/" + "a/" * 4000, "/v1/analyze/", "/" + "%41" * 3000, "/docs", "/\\..\\..\\x"]
    requests = {path: f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths}
    requests |= {
        method: f"{method} /v1/analyze HTTP/1.1\r\nHost: x\r\n\r\n".encode() for method in ("GET", "PUT", "MAKE")
    }
    check_rejected({name: server.exchange(data) for name, data in requests.items()})
    queries = [
        "max_faces=0",
        "max_faces=-1",
        "max_faces=nan",
        "max_faces=9e99",
        "max_faces=" + "9" * 5000,
        "pose=maybe",
    ]
    queries += ["model=", "model=%00", "model=../../etc/passwd", "model=%ff%fe", "model=" + "a" * 5000]
    check_rejected({query: server.post(JPEG, query=f"?{query}") for query in queries})
    upgrades = {
        path: server.exchange(UPGRADE.replace(b"/v1/stream", path.encode())) for path in ("/", "/no", "/models/x")
    }
    assert {status for status, _ in upgrades.values()} <= {403, 404}


def test_rejects_unreadable_images(server):
    files = bad_images()
    assert max(map(len, files.values())) < 300_000
    check_rejected({name: server.post(data) for name, data in files.items()})
    form = b"".join(part(files[name]) for name in list(files)[:3]) + part(JPEG) + b"--B--\r\n"
    status, body = server.post(form, "multipart/form-data; boundary=B")
    assert status == 200
    assert [bool(result["error"]) for result in json.loads(body)["results"]] == [True, True, True, False]


def test_analyzes_expensive_images_within_the_memory_limit(server):
    frames = [Image.new("P", (1000, 1000), color) for color in range(30)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    expensive = [encoded(Image.new("RGBA", (2000, 2000)), "PNG"), encoded(Image.new("CMYK", (2000, 2000)), "JPEG")]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(server.post, [file.getvalue(), *expensive * 4]))
    assert {status for status, _ in responses} == {200}, responses


def test_slow_clients_are_disconnected_and_delay_no_others(server):
    body = f"{ANALYZE}Content-Type: image/jpeg\r\n".encode()
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    length = b"Content-Length: 100000000\r\n\r\n"
    slow = {
        "silent": (b"", b""),
        "headers": (get, b"x: y\r\n"),
        "one long header": (get + b"x: ", b"y"),
        "headers of a second request": (get + b"\r\nGET /healthz", b"z"),
        "a body": (body + b"Content-Length: 100000\r\n\r\n", b"z"),
        "a body in chunks": (body + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nz\r\n"),
        "a rejected body": (body + length, b"z"),
        "an unexpected body": (get + length, b"z"),
        "an incomplete upgrade": (UPGRADE[:-2], b""),
        "an upgrade with a body": (UPGRADE[:-2] + b"Content-Length: 10\r\n\r\n", b""),
        "a large file that is not read": (b"GET /models/expression.onnx HTTP/1.1\r\nHost: x\r\n\r\n", b"z"),
    }
    with ExitStack() as stack, ThreadPoolExecutor(len(slow)) as pool:
        runs = {}
        for name, (first, chunk) in slow.items():
            client = stack.enter_context(closing(server.connect(buffer=4096)))
            client.sendall(first)
            runs[name] = pool.submit(time_until_closed, client, chunk)
        for _ in range(3):
            server.check_portrait()
        durations = {name: run.result() for name, run in runs.items()}
    assert {name: seconds for name, seconds in durations.items() if seconds >= TIMEOUT_S} == {}


def test_survives_clients_that_disconnect_early(server):
    request = f"{ANALYZE}Content-Type: image/jpeg\r\nContent-Length: {len(JPEG)}\r\n\r\n".encode() + JPEG
    for size in (0, 10, 150, 3000, len(request)):
        assert server.exchange(request[:size], shutdown=True)[0] in (0, 200, 400, 408)
    for size in (10, 150, 3000, len(request), -1):
        with closing(server.connect()) as client:
            client.sendall(UPGRADE if size < 0 else request[:size])
            # close with a reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_connections_over_the_limit_are_rejected(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(server.connect())) for _ in range(200)]
        statuses = []
        for client in clients:
            with suppress(OSError):
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            statuses.append(read_response(client)[0])
    # 0: the server closed the connection before it received the request
    assert set(statuses) <= {0, 200, 503}
    assert 1 <= statuses.count(200) <= SETTINGS["max-connections"]


def test_corrupted_requests_never_cause_a_500(server):
    rng = random.Random(5)
    images = seed_images()
    statuses = []
    deadline = time.monotonic() + FUZZ_S
    while time.monotonic() < deadline and len(statuses) < 400:
        image = rng.choice(images)
        if rng.random() < 0.3:
            form = corrupted(part(image) + part(JPEG[:2000]) + b"--B--\r\n", rng)
            statuses.append(server.post(form, "multipart/form-data; boundary=B")[0])
        elif rng.random() < 0.2:
            request = f"{ANALYZE}Content-Type: image/png\r\nContent-Length: 300\r\n\r\n".encode() + image[:300]
            statuses.append(server.exchange(corrupted(request, rng), shutdown=True)[0])
        else:
            statuses.append(server.post(corrupted(image, rng))[0])
    assert set(statuses) <= {0, 200, 400, 404, 405, 408, 413, 415, 422}
    assert len(set(statuses)) >= 3
