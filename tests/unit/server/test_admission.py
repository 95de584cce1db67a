"""Admission control, access checks and settings, in this process."""

from __future__ import annotations

import time

import pytest
from starlette.websockets import WebSocketDisconnect

from mien.errors import InputError
from mien.inference.result import Result
from mien.server.app import create_app
from mien.server.model_pool import ModelPool
from mien.server.settings import ServerSettings
from support.server import BAD, JPEG, TOKEN, create_client, error_code, form, jpeg


@pytest.fixture(scope="module")
def client(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        yield client


def test_rejects_requests_over_size_limits(tiny_model):
    limits = {"max_body_bytes": 50_000, "max_images": 2, "max_pixels": 256 * 256}
    with create_client(model=(str(tiny_model),), **limits) as client:
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200
        large = client.post("/v1/analyze", content=bytes(50_001), headers=JPEG)
        assert error_code(large, 413) == "body_large"
        chunked = client.post("/v1/analyze", content=(bytes(30_000) for _ in range(2)), headers=JPEG)
        assert error_code(chunked, 413) == "body_large"
        many = client.post("/v1/analyze", files=form(jpeg(), jpeg(), jpeg()))
        assert error_code(many, 413) == "too_many_images"
        wide = client.post("/v1/analyze", content=jpeg(side=257), headers=JPEG)
        assert error_code(wide, 422) == "image_unreadable"
        assert "the limit is" in wide.json()["error"]["message"]
        service = client.app.state.service
        assert (service.admission.images, service.admission.bytes) == (0, 0)


def test_full_server_answers_429_before_reading_the_body(tiny_model):
    with create_client(model=(str(tiny_model),), max_waiting=2, max_images=2) as client:
        admission = client.app.state.service.admission
        with admission.reserve() as reservation:
            two = client.post("/v1/analyze", files=form(jpeg(), jpeg()))
            assert error_code(two, 429) == "busy"
            reservation.add(images=1)
            busy = client.post("/v1/analyze", content=BAD, headers={"Content-Type": "unknown"})
            assert error_code(busy, 429) == "busy"
            assert "mien serve --max-waiting)" in busy.json()["detail"]
            assert int(busy.headers["Retry-After"]) >= 1
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_waiting_bytes_are_limited(tiny_model):
    with create_client(model=(str(tiny_model),), max_body_bytes=60_000, max_waiting_bytes=60_000) as client:
        with client.app.state.service.admission.reserve() as reservation:
            reservation.add(size=59_000)
            assert error_code(client.post("/v1/analyze", content=jpeg(), headers=JPEG), 429) == "busy"
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_request_timeout_answers_503(tiny_model, monkeypatch):
    monkeypatch.setattr(ModelPool, "analyze", lambda *_: time.sleep(0.3) or Result(source=""))
    with create_client(model=(str(tiny_model),), request_timeout_s=0.05) as client:
        response = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
        assert error_code(response, 503) == "slow"
        assert int(response.headers["Retry-After"]) >= 1
        assert client.app.state.service.admission.images == 0


def test_draining_server_rejects_new_requests(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        client.app.state.service.admission.is_draining = True
        for response in (client.get("/readyz"), client.post("/v1/analyze", content=jpeg(), headers=JPEG)):
            assert error_code(response, 503) == "ending"
            assert int(response.headers["Retry-After"]) >= 1
            assert response.headers["Connection"] == "close"
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/metrics%0A"])
def test_protected_paths_require_a_token(tiny_model, tmp_path, path):
    file = tmp_path / "tokens"
    file.write_text(f"another-token-of-enough-signs\n{TOKEN}\n")
    with create_client(model=(str(tiny_model),), token_file=file) as client:
        response = client.get(path)
        assert error_code(response, 401) == "token"
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        for wrong in (TOKEN[:-1], TOKEN + "x", "", "ä"):
            assert client.get(path, headers={"Authorization": f"Bearer {wrong}".encode()}).status_code == 401
        assert client.get(path, headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
        assert client.get(path, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
        for public in ("/healthz", "/readyz", "/models/index.json"):
            assert client.get(public).status_code == 200


def test_reads_a_token_from_the_environment(tiny_model, monkeypatch):
    monkeypatch.setenv("MIEN_TOKEN", TOKEN)
    with create_client(model=(str(tiny_model),)) as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("value", [" ", "\t\n", "short", f"{TOKEN} with spaces", "ä" * 20])
def test_rejects_an_invalid_token_in_the_environment(tiny_model, monkeypatch, value):
    monkeypatch.setenv("MIEN_TOKEN", value)
    with pytest.raises(InputError, match="token 1 is invalid"):
        create_app(ServerSettings(model=(str(tiny_model),)))


def test_an_empty_token_in_the_environment_is_no_token(tiny_model, monkeypatch):
    monkeypatch.setenv("MIEN_TOKEN", "")
    with create_client(model=(str(tiny_model),)) as client:
        assert client.get("/v1/models").status_code == 200


def test_missing_and_wrong_tokens_have_different_messages(tiny_model, monkeypatch):
    monkeypatch.setenv("MIEN_TOKEN", TOKEN)
    with create_client(model=(str(tiny_model),)) as client:
        missing = client.get("/v1/models").json()["detail"]
        wrong = client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}x"}).json()["detail"]
    assert ("missing" in missing, "wrong" in wrong) == (True, True)


@pytest.mark.parametrize("text", ["", "short", f"{TOKEN} with spaces"])
def test_rejects_invalid_tokens_without_printing_them(tiny_model, tmp_path, text):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(InputError) as raised:
        create_app(ServerSettings(model=(str(tiny_model),), token_file=file))
    assert not text or text not in str(raised.value)
    with pytest.raises(InputError, match="cannot be read: no such file or directory"):
        create_app(ServerSettings(model=(str(tiny_model),), token_file=tmp_path / "missing"))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.0.2.7", 200),
        # a name that an attacker may have pointed at this server
        ("mien.test", 403),
        ("127.0.0.1.mien.test", 403),
        ("", 403),
    ],
)
def test_own_page_is_allowed_only_under_an_ip_address_or_localhost(client, host, status):
    response = client.get("/v1/models", headers={"Host": host, "Origin": f"http://{host}"})
    assert response.status_code == status


def test_rejects_foreign_origins_by_default(tiny_model):
    foreign = "http://far.test"
    allowed = "https://allowed.test"
    with create_client(model=(str(tiny_model),)) as client:
        assert error_code(client.get("/v1/models", headers={"Origin": foreign}), 403) == "origin"
        for malformed in ("null", "http://[", "://", ""):
            assert error_code(client.get("/v1/models", headers={"Origin": malformed}), 403) == "origin"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/stream", headers={"Origin": foreign}):
            pass
    with create_client(model=(str(tiny_model),), allow_origin=(allowed,)) as client:
        response = client.get("/v1/models", headers={"Origin": allowed})
        assert response.headers["Access-Control-Allow-Origin"] == allowed
        preflight = {"Origin": allowed, "Access-Control-Request-Method": "POST"}
        assert client.options("/v1/analyze", headers=preflight).status_code == 200
        rejected = client.get("/v1/models", headers={"Origin": foreign})
        assert error_code(rejected, 403) == "origin"
        assert "Access-Control-Allow-Origin" not in rejected.headers
        with client.websocket_connect("/v1/stream", headers={"Origin": allowed}) as socket:
            assert socket.receive_json()["type"] == "ready"


@pytest.mark.parametrize(
    ("option", "origin"),
    [
        ("https://example.org/", "https://example.org"),
        ("HTTPS://Example.ORG", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://localhost:80/", "http://localhost"),
        ("http://[::1]:5173", "http://[::1]:5173"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("*", "https://anything.test"),
        ("null", "null"),
    ],
)
def test_allowed_origins_match_those_of_browsers(tiny_model, option, origin):
    with create_client(model=(str(tiny_model),), allow_origin=(option,)) as client:
        assert client.get("/v1/models", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "option",
    ["example.org", "https://example.org/app", "https://*.example.org", "https://user@example.org", "https://", ""],
)
def test_rejects_origins_that_are_not_scheme_and_host(option):
    with pytest.raises(InputError, match="allow_origin is"):
        ServerSettings(allow_origin=(option,))


def test_rejects_settings_out_of_range():
    for settings in (
        {"port": -1},
        {"port": 65536},
        {"max_waiting": 0},
        {"workers": -1},
        {"body_timeout_s": 0},
        {"max_images": 200},
        {"max_body_bytes": 2**30},
        {"body_timeout_s": float("nan")},
    ):
        with pytest.raises(InputError, match=next(iter(settings))):
            ServerSettings(**settings)


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr("mien.server.settings.usable_cores", lambda: 4)
    threads = {workers: ServerSettings(workers=workers).network_threads for workers in (0, 1, 2, 3, 8)}
    assert threads == {0: 1, 1: 4, 2: 2, 3: 1, 8: 1}


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000\n", 1), ("10000 100000\n", 1), ("max 100000\n", None), ("", None)]
)
def test_worker_count_respects_the_cpu_quota_of_a_container(tmp_path, monkeypatch, quota, cores):
    default = ServerSettings().worker_count
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("mien.runtime.CPU_QUOTA", tmp_path / "cpu.max")
    assert ServerSettings().worker_count == (cores or default)
