"""`mien serve` as a process: misbehaving clients, shutdown, crash and restart."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from support.server import ServerProcess, child_pids, jpeg
from support.waiting import wait_until

LIMITS = {
    "--header-timeout-s": 1,
    "--body-timeout-s": 1,
    "--write-timeout-s": 1,
    "--max-message-bytes": 100_000,
    "--max-body-bytes": 1_000_000,
}


NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finding the analysis processes needs /proc"
)
EMPTY_HEAD = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def served(tiny_model, tmp_path_factory):
    options = [f"{flag}={value}" for flag, value in LIMITS.items()]
    with ServerProcess(tiny_model, *options, log=tmp_path_factory.mktemp("served") / "log.jsonl") as served:
        yield served


@pytest.fixture(autouse=True)
def check_server_afterwards(request):
    """Check after every test that the shared server still answers."""
    yield
    if "served" in request.fixturenames:
        assert send_request(request.getfixturevalue("served"), "GET", "/readyz")[0] == 200


def send_request(served, method, path, body=None, headers=None, timeout=60):
    """Return status, headers and body of the response; every request has its own connection."""
    connection = http.client.HTTPConnection(*served.address, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def analyze(served, data=None):
    return send_request(served, "POST", "/v1/analyze", data or jpeg(), {"Content-Type": "image/jpeg"})


def read_all(connection):
    """Return all bytes until the server closes the connection."""
    chunks = []
    try:
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    except ConnectionResetError:
        pass
    return b"".join(chunks)


def test_prints_its_address_and_analyzes_images(served):
    assert re.fullmatch(r"mien listens on http://127\.0\.0\.1:\d+\n", served.line)
    status, headers, body = analyze(served)
    assert status == 200
    assert len(json.loads(body)["results"][0]["faces"]) == 1
    assert "server" not in headers


def test_closes_connections_with_slow_headers(served):
    with served.connect() as silent, served.connect() as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        started = time.monotonic()
        # on a busy machine the connection may already be closed
        with suppress(OSError):
            while time.monotonic() - started < 0.7:
                slow.sendall(b"x: y\r\n")
                time.sleep(0.1)
        assert read_all(silent) == b""
        assert read_all(slow) == b""
    assert time.monotonic() - started < 15


def test_rejects_huge_headers(served):
    with served.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 70_000)
        response = read_all(client)
    assert response.startswith(b"HTTP/1.1 400")
    assert b"mien serve --max-header-bytes" in response


def test_head_has_headers_and_no_body(served):
    with served.connect() as client:
        client.sendall(EMPTY_HEAD)
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b""


def test_slow_body_is_answered_408(served):
    head = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\nxx"
    with served.connect() as client:
        client.sendall(head)
        response = read_all(client)
    assert response.startswith(b"HTTP/1.1 408")
    assert b"body_slow" in response
    assert b"mien serve --body-timeout-s" in response


def test_closes_connection_that_keeps_sending_a_rejected_body(served):
    head = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    with served.connect() as client:
        client.sendall(head)
        started = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - started < 20:
                client.sendall(chunk)
                time.sleep(0.01)
    assert time.monotonic() - started < 18


def test_disconnected_clients_release_their_capacity(served):
    head = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\nxx"
    with served.connect() as half, served.connect() as gone:
        half.sendall(head)
        half.shutdown(socket.SHUT_WR)
        gone.sendall(head)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
        gone.close()
        assert read_all(half)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 408")
    wait_until(lambda: b"mien_waiting_images 0.0" in send_request(served, "GET", "/metrics")[2])


def test_connections_over_the_limit_are_answered_503(tiny_model, tmp_path):
    options = ["--max-connections=8", "--header-timeout-s=60"]
    with ServerProcess(tiny_model, *options, log=tmp_path / "log.jsonl") as served:
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(served.connect())
            with served.connect() as surplus:
                response = read_all(surplus)
        assert response.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in response.lower()
        assert b"mien serve --max-connections" in response
        wait_until(lambda: send_request(served, "GET", "/readyz")[0] == 200)


def test_rejects_decompression_bombs(served):
    file = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(file, "PNG")
    assert len(file.getvalue()) < 200_000
    status, _, body = analyze(served, file.getvalue())
    assert (status, json.loads(body)["error"]["code"]) == (422, "image_unreadable")


def test_huge_websocket_message_closes_the_connection(served):
    with connect(f"ws{served.url[4:]}/v1/stream", proxy=None) as stream:
        assert json.loads(stream.recv(timeout=20))["type"] == "ready"
        stream.send(bytes(LIMITS["--max-message-bytes"] + 1))
        with pytest.raises(ConnectionClosed) as raised:
            stream.recv(timeout=20)
    assert raised.value.rcvd.code == 1009


def test_rejects_malformed_websocket_handshakes_and_frames(served):
    head = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    with served.connect() as client:
        client.sendall(head + b"\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 4")
    handshake = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    with served.connect() as client:
        client.sendall(head + handshake)
        assert client.recv(12) == b"HTTP/1.1 101"
        client.sendall(b"\xff" * 100)
        read_all(client)


def test_closes_connection_of_client_that_does_not_read(served):
    with served.connect(buffer=65536) as client:
        client.sendall(b"GET /models/face-landmarks.onnx HTTP/1.1\r\nHost: x\r\n\r\n" * 20)  # 49 MB
        with pytest.raises(ConnectionError):
            send_for_20_s(client)


def send_for_20_s(client):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        client.sendall(b"x")
        time.sleep(0.1)


def test_log_is_text_on_request(tiny_model, tmp_path):
    with ServerProcess(tiny_model, "--log-format=text", "--host=0.0.0.0", log=tmp_path / "log") as server:
        assert analyze(server)[0] == 200
        _, log = server.stop()
    warning, request, stopping = log.splitlines()
    assert "WARNING no token: everyone who can connect may use this server" in warning
    assert re.search(r"\d POST /v1/analyze 200, [\d.]+ ms request_id=\w+ images=1$", request)
    assert stopping.endswith("shutting down")


def test_port_in_use_is_reported_in_one_line(served, tiny_model):
    port = str(served.address[1])
    command = [sys.executable, "-m", "mien.cli.main", "serve", "--port", port, "--model", str(tiny_model)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"mien: cannot listen on 127.0.0.1, port {port}: address already in use. "
        "Choose another with --host and --port.\n"
    )


def test_missing_extra_is_reported_with_the_install_command():
    code = "import sys; sys.modules['starlette'] = None\nfrom mien.cli.main import main\nsys.exit(main(['serve']))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr == "mien: serving needs more packages: pip install 'mien[serve]'\n"


class LoadGenerator:
    """Clients that send requests until the server stops listening; records every response."""

    def __init__(self, served, count):
        self.served = served
        self.statuses = []
        self.errors = []
        self.stop_event = threading.Event()
        self.pool = ThreadPoolExecutor(count)
        self.clients = [self.pool.submit(self.send_requests) for _ in range(count)]

    def send_requests(self):
        connection = http.client.HTTPConnection(*self.served.address, timeout=60)
        while not self.stop_event.is_set():
            try:
                connection.connect()
            except OSError:
                return
            try:
                connection.request("POST", "/v1/analyze", jpeg(), {"Content-Type": "image/jpeg"})
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(error)
                return
            finally:
                connection.close()
            self.statuses.append(response.status)
            if response.status == 503:
                assert int(response.headers["Retry-After"]) >= 1
                time.sleep(0.05)

    def stop(self):
        self.stop_event.set()
        for client in self.clients:
            client.result(timeout=60)
        self.pool.shutdown()


def test_sigterm_under_load_answers_all_admitted_requests(tiny_model, tmp_path):
    with (
        ServerProcess(tiny_model, log=tmp_path / "log.jsonl") as served,
        connect(f"ws{served.url[4:]}/v1/stream", subprotocols=["mien.v1"], proxy=None) as stream,
    ):
        assert json.loads(stream.recv(timeout=20))["type"] == "ready"
        load = LoadGenerator(served, 8)
        wait_until(lambda: len(load.statuses) >= 8, timeout_s=30)
        # as service managers do, which stop all processes of a service
        for pid in served.pids()[1:]:
            os.kill(pid, signal.SIGTERM)
        code, log = served.stop(signal.SIGTERM)
        load.stop()
        with pytest.raises(ConnectionClosed) as raised:
            stream.recv(timeout=20)
    assert code == 0
    assert raised.value.rcvd.code == 1001
    records = [json.loads(line) for line in log.splitlines()]
    analyzed = [record for record in records if record.get("path") == "/v1/analyze"]
    assert "shutting down" in [record["event"] for record in records]
    assert {record["status"] for record in analyzed} <= {200, 503}
    # every response that the server wrote was received
    answered = sum(record["status"] == 200 for record in analyzed)
    assert load.statuses.count(200) == answered >= 8
    # every connection was answered, except one that may have opened at the instant of closing
    assert len(load.errors) <= 1


def test_restarts_on_the_same_port_after_sigkill(tiny_model, tmp_path):
    with ServerProcess(tiny_model, log=tmp_path / "first.jsonl") as first:
        assert analyze(first)[0] == 200
        children = first.pids()[1:]
        code, _ = first.stop(signal.SIGKILL)
        assert code == -signal.SIGKILL
    wait_until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in children))
    started = time.monotonic()
    with ServerProcess(tiny_model, log=tmp_path / "second.jsonl", port=first.port) as second:
        ready_s = time.monotonic() - started
        assert second.address == first.address
        assert send_request(second, "GET", "/readyz")[0] == 200
        assert analyze(second)[0] == 200
        assert second.stop(signal.SIGINT)[0] == 0
    assert ready_s < 20  # 1.5 s on an idle machine; see docs/server.md


def test_denied_websocket_has_a_json_error(served):
    with pytest.raises(InvalidStatus) as raised, connect(f"ws{served.url[4:]}/v1/stream?model=nothing", proxy=None):
        pass
    assert raised.value.response.status_code == 404
    assert json.loads(raised.value.response.body)["error"]["code"] == "model_unknown"


def test_refused_websockets_are_logged_without_an_error(tiny_model, tmp_path):
    with ServerProcess(tiny_model, log=tmp_path / "log") as server:
        for path in ("/v1/stream?model=nothing", "/nowhere"):
            with pytest.raises(InvalidStatus) as raised, connect(f"ws{server.url[4:]}{path}", proxy=None):
                pass
            assert raised.value.response.status_code == 404
            assert json.loads(raised.value.response.body)["status"] == 404
        code, log = server.stop()
    records = [json.loads(line) for line in log.splitlines()]
    assert code == 0
    assert [(record["level"], record["event"]) for record in records] == [
        ("info", "request"), ("info", "request"), ("info", "shutting down")
    ]  # fmt: skip
    assert [(record["path"], record["status"]) for record in records[:2]] == [("/v1/stream", 404), ("page", 404)]


@NEEDS_PROC
def test_shuts_down_although_the_analysis_processes_hang(tiny_model, tmp_path):
    options = ["--workers=2", "--shutdown-grace-s=1", "--device=cpu"]
    with ServerProcess(tiny_model, *options, log=tmp_path / "log.jsonl") as served, ThreadPoolExecutor(1) as pool:
        processes = served.pids()[1:]
        assert len(processes) == 2
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        hanging = pool.submit(analyze, served)
        wait_until(lambda: b"mien_waiting_images 1.0" in send_request(served, "GET", "/metrics")[2])
        started = time.monotonic()
        assert served.stop()[0] == 0
        assert time.monotonic() - started < 15
        assert hanging.result(timeout=20)[0] == 500
    assert not any(Path(f"/proc/{pid}/stat").exists() for pid in processes)


@NEEDS_PROC
def test_interrupt_during_the_start_ends_all_processes(tiny_model):
    options = ["--port=0", "--workers=2", "--device=cpu", f"--model={tiny_model}"]
    command = [sys.executable, "-m", "mien.cli.main", "serve", *options]
    for delay_s in (0.0, 0.1, 0.3, 1.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        wait_until(lambda process=process: child_pids(process.pid), timeout_s=60)
        time.sleep(delay_s)
        for _ in range(2):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.01)
        # the pipes close when all processes have ended
        _, log = process.communicate(timeout=20)
        # the second signal may end it at once
        assert process.returncode in (0, 130, -signal.SIGINT), log
        assert b"Traceback" not in log, log
