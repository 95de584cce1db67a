"""What the server does not do, and for whom: its limits, tokens and origins, in this process."""

from __future__ import annotations

import pytest
from starlette.websockets import WebSocketDisconnect

from mien.errors import InputError
from mien.server.app import create_app
from mien.server.settings import ServerSettings
from support.server import BAD, JPEG, TOKEN, client_of, error_of, form, jpeg


@pytest.fixture(scope="module")
def client(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        yield client


def test_bodies_images_and_pixels_have_limits(tiny_model):
    limits = {"max_body_bytes": 50_000, "max_images": 2, "max_pixels": 256 * 256}
    with client_of(model=(str(tiny_model),), **limits) as client:
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200
        large = client.post("/v1/analyze", content=bytes(50_001), headers=JPEG)
        assert error_of(large, 413) == "body_large"
        piecewise = client.post("/v1/analyze", content=(bytes(30_000) for _ in range(2)), headers=JPEG)
        assert error_of(piecewise, 413) == "body_large"
        many = client.post("/v1/analyze", files=form(jpeg(), jpeg(), jpeg()))
        assert error_of(many, 413) == "too_many_images"
        wide = client.post("/v1/analyze", content=jpeg(side=257), headers=JPEG)
        assert error_of(wide, 422) == "image_unreadable"
        assert "the limit is" in wide.json()["error"]["message"]
        service = client.app.state.service
        assert (service.admission.images, service.admission.bytes) == (0, 0)


def test_a_full_server_answers_429_before_it_takes_the_body(tiny_model):
    with client_of(model=(str(tiny_model),), max_waiting=2, max_images=2) as client:
        admission = client.app.state.service.admission
        with admission.reserve() as reservation:
            two = client.post("/v1/analyze", files=form(jpeg(), jpeg()))
            assert error_of(two, 429) == "busy"
            reservation.add_images(1)
            busy = client.post("/v1/analyze", content=BAD, headers={"Content-Type": "unknown"})
            assert error_of(busy, 429) == "busy"
            assert int(busy.headers["Retry-After"]) >= 1
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_the_bytes_that_wait_have_a_limit(tiny_model):
    with client_of(model=(str(tiny_model),), max_body_bytes=60_000, max_waiting_bytes=60_000) as client:
        with client.app.state.service.admission.reserve() as reservation:
            reservation.add_bytes(59_000)
            assert error_of(client.post("/v1/analyze", content=jpeg(), headers=JPEG), 429) == "busy"
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_images_that_take_too_long_are_given_up(tiny_model):
    with client_of(model=(str(tiny_model),), batch_window_ms=60_000, request_timeout_s=0.05) as client:
        answer = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
        assert error_of(answer, 503) == "slow"
        assert int(answer.headers["Retry-After"]) >= 1
        assert client.app.state.service.admission.images == 0


def test_a_server_that_ends_takes_nothing_new(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        client.app.state.service.admission.is_draining = True
        for answer in (client.get("/readyz"), client.post("/v1/analyze", content=jpeg(), headers=JPEG)):
            assert error_of(answer, 503) == "ending"
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Connection"] == "close"
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("sent", ["/v1/models", "/metrics", "/metrics%0A"])
def test_tokens_are_asked_for_where_there_is_something_to_guard(tiny_model, tmp_path, sent):
    file = tmp_path / "tokens"
    file.write_text(f"another-token-of-enough-signs\n{TOKEN}\n")
    with client_of(model=(str(tiny_model),), token_file=file) as client:
        refused = client.get(sent)
        assert error_of(refused, 401) == "token"
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        for wrong in (TOKEN[:-1], TOKEN + "x", "", "ä"):
            assert client.get(sent, headers={"Authorization": f"Bearer {wrong}".encode()}).status_code == 401
        assert client.get(sent, headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
        assert client.get(sent, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
        for path in ("/healthz", "/readyz", "/models/index.json"):
            assert client.get(path).status_code == 200


def test_a_token_may_come_from_the_environment(tiny_model, monkeypatch):
    monkeypatch.setenv("MIEN_TOKEN", TOKEN)
    with client_of(model=(str(tiny_model),)) as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("text", ["", "short", f"{TOKEN} with spaces"])
def test_poor_tokens_are_refused_and_not_shown(tiny_model, tmp_path, text):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(InputError) as raised:
        create_app(ServerSettings(model=(str(tiny_model),), token_file=file))
    assert not text or text not in str(raised.value)
    with pytest.raises(InputError, match="No such file"):
        create_app(ServerSettings(model=(str(tiny_model),), token_file=tmp_path / "missing"))


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.0.2.7", 200),
        ("mien.test", 403),  # a stranger's name, perhaps, that he made point here
        ("127.0.0.1.mien.test", 403),
        ("", 403),
    ],
)
def test_its_own_page_may_call_where_no_foreign_name_can_pose_as_it(client, host, status):
    answer = client.get("/v1/models", headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == status


def test_other_origins_are_shut_out_unless_they_are_allowed(tiny_model):
    far, allowed = "http://far.test", "https://allowed.test"
    with client_of(model=(str(tiny_model),)) as client:
        assert error_of(client.get("/v1/models", headers={"Origin": far}), 403) == "origin"
        for strange in ("null", "http://[", "://", ""):
            assert error_of(client.get("/v1/models", headers={"Origin": strange}), 403) == "origin"
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/v1/stream", headers={"Origin": far}),
        ):
            pass
    with client_of(model=(str(tiny_model),), allow_origin=(allowed,)) as client:
        answer = client.get("/v1/models", headers={"Origin": allowed})
        assert answer.headers["Access-Control-Allow-Origin"] == allowed
        asked = {"Origin": allowed, "Access-Control-Request-Method": "POST"}
        assert client.options("/v1/analyze", headers=asked).status_code == 200
        refused = client.get("/v1/models", headers={"Origin": far})
        assert error_of(refused, 403) == "origin"
        assert "Access-Control-Allow-Origin" not in refused.headers
        with client.websocket_connect("/v1/stream", headers={"Origin": allowed}) as socket:
            assert socket.receive_json()["type"] == "ready"


def test_settings_that_mean_nothing_are_refused():
    for wrong in (
        {"port": -1},
        {"port": 65536},
        {"max_waiting": 0},
        {"batch_images": 0},
        {"body_timeout_s": 0},
        {"max_images": 200},
        {"max_body_bytes": 2**30},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ServerSettings(**wrong)


def test_without_batching_one_worker_has_all_threads():
    alone, together = ServerSettings(batch_images=1), ServerSettings(workers=1)
    assert alone.worker_count == together.worker_count == 1
    assert alone.network_threads == together.network_threads >= 1


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000\n", 1), ("10000 100000\n", 1), ("max 100000\n", None), ("", None)]
)
def test_a_container_s_share_of_the_processor_counts(tmp_path, monkeypatch, quota, cores):
    everywhere = ServerSettings().worker_count
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("mien.runtime.CPU_QUOTA", tmp_path / "cpu.max")
    assert ServerSettings().worker_count == (cores or everywhere)
