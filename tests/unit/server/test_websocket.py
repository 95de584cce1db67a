"""Live images over a WebSocket: the protocol, in this process."""

from __future__ import annotations

import json
import threading
import time

import pytest
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from mien.errors import ModelError
from mien.server.websocket import _Source
from mien.video.follower import FaceFollower
from support.server import BAD, client_of, jpeg

TOKEN = "a-token-of-enough-signs"


@pytest.fixture(scope="module")
def client(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        yield client


@pytest.fixture
def stream(client):
    with client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as stream:
        assert stream.accepted_subprotocol == "mien.v1"
        ready = stream.receive_json()
        assert (ready["type"], ready["model"], ready["version"]) == ("ready", "tiny", "0")
        assert len(ready["labels"]) == 8
        yield stream


@pytest.fixture
def held(monkeypatch):
    """Every image waits in its reading: an event that one has begun, and one that lets them end."""
    begun, may_end, step = threading.Event(), threading.Event(), _Source.step

    def slow_step(self, frame):
        begun.set()
        assert may_end.wait(20)
        return step(self, frame)

    monkeypatch.setattr(_Source, "step", slow_step)
    return begun, may_end


def send_at(stream, timestamp_s, data):
    stream.send_json({"type": "frame", "timestamp_s": timestamp_s})
    stream.send_bytes(data)
    return stream.receive_json()


def denied(client, path="/v1/stream", **words):
    with pytest.raises(WebSocketDenialResponse) as raised, client.websocket_connect(path, **words):
        pass
    return raised.value.status_code, raised.value.json()["error"]["code"]


def test_a_face_is_followed_and_its_reading_smoothed(stream):
    answers = [send_at(stream, place / 25, jpeg()) for place in range(4)]
    assert [answer["type"] for answer in answers] == ["frame"] * 4
    assert [answer["frame_index"] for answer in answers] == [0, 1, 2, 3]
    assert [answer["timestamp_s"] for answer in answers] == [0, 0.04, 0.08, 0.12]
    assert {(answer["width"], answer["height"]) for answer in answers} == {(256, 256)}
    assert all(answer["latency_ms"] > 0 for answer in answers)
    faces = [answer["faces"] for answer in answers]
    assert [face["track_id"] for (face,) in faces] == [1, 1, 1, 1]
    assert all(face["smoothed"]["probabilities"] for (face,) in faces)
    # searched and read in one frame of three, followed in between
    assert [face["expression"] is not None for (face,) in faces] == [True, False, False, True]


def test_of_few_images_a_second_every_one_is_read(stream):
    answers = [send_at(stream, place / 2, jpeg()) for place in range(6)]
    assert [answer["faces"][0]["track_id"] for answer in answers] == [1] * 6
    assert all(answer["faces"][0]["expression"] for answer in answers)


def test_without_a_time_the_arrival_counts(stream):
    stream.send_bytes(jpeg())
    assert stream.receive_json()["timestamp_s"] == 0
    time.sleep(0.05)
    stream.send_bytes(jpeg())
    assert 0.05 <= stream.receive_json()["timestamp_s"] < 20


def test_bad_images_are_told_and_the_connection_goes_on(stream):
    for place, data in enumerate((BAD, b"", jpeg()[:100])):
        stream.send_bytes(data)
        answer = stream.receive_json()
        assert (answer["type"], answer["code"], answer["frame_index"]) == ("error", "image_unreadable", place)
        assert answer["message"]
    stream.send_bytes(jpeg())
    assert stream.receive_json()["type"] == "frame"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '"reset"',
        '{"type": 1}',
        '{"type": "frame"}',
        '{"type": "frame", "timestamp_s": "1"}',
        '{"type": "frame", "timestamp_s": true}',
        '{"type": "frame", "timestamp_s": -1}',
        '{"type": "frame", "timestamp_s": NaN}',
        '{"type": "frame", "timestamp_s": 1e99}',
        "[" * 100_000,
    ],
    ids=range(13),
)
def test_bad_messages_are_told_and_the_connection_goes_on(stream, text):
    stream.send_text(text)
    answer = stream.receive_json()
    assert (answer["type"], answer["code"]) == ("error", "message")
    assert "reset" in answer["message"]
    stream.send_bytes(jpeg())
    assert stream.receive_json()["type"] == "frame"


def test_time_must_not_go_back_unless_the_source_is_another(stream):
    assert send_at(stream, 5, jpeg())["type"] == "frame"
    late = send_at(stream, 4, jpeg())
    assert (late["type"], late["code"], late["frame_index"]) == ("error", "input", 1)
    assert "reset" in late["message"]
    stream.send_json({"type": "reset"})
    assert stream.receive_json() == {"type": "reset"}
    answer = send_at(stream, 0, jpeg("obama"))
    assert (answer["type"], answer["frame_index"]) == ("frame", 2)
    assert [face["track_id"] for face in answer["faces"]] == [1]


def test_the_newest_image_wins(stream, held):
    begun, may_end = held
    stream.send_bytes(jpeg())
    assert begun.wait(20)
    for _ in range(3):
        stream.send_bytes(jpeg())
    dropped = [stream.receive_json() for _ in range(2)]
    assert dropped == [{"type": "dropped", "frame_index": 1}, {"type": "dropped", "frame_index": 2}]
    may_end.set()
    assert [stream.receive_json()["frame_index"] for _ in range(2)] == [0, 3]


def test_a_reset_drops_what_waits(stream, held):
    begun, may_end = held
    stream.send_bytes(jpeg())
    assert begun.wait(20)
    stream.send_bytes(jpeg())
    stream.send_json({"type": "reset"})
    assert stream.receive_json() == {"type": "dropped", "frame_index": 1}
    may_end.set()
    assert stream.receive_json()["frame_index"] == 0
    assert stream.receive_json() == {"type": "reset"}


def test_a_image_after_a_reset_is_not_for_the_source_before_it(tiny_model, held):
    begun, may_end = held
    with (
        client_of(model=(str(tiny_model),), workers=1) as client,
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as other,
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as stream,
    ):
        other.send_bytes(jpeg())  # keeps the only worker
        assert begun.wait(20)
        assert stream.receive_json()["type"] == "ready"
        stream.send_json({"type": "frame", "timestamp_s": 5})
        stream.send_bytes(jpeg())
        stream.send_json({"type": "reset"})
        stream.send_json({"type": "frame", "timestamp_s": 1})
        stream.send_bytes(jpeg())
        assert stream.receive_json() == {"type": "dropped", "frame_index": 0}
        may_end.set()
        assert stream.receive_json() == {"type": "reset"}
        answer = stream.receive_json()
        assert (answer["type"], answer["frame_index"], answer["timestamp_s"]) == ("frame", 1, 1)


def test_connections_do_not_know_of_each_other(client):
    with (
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as first,
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as second,
    ):
        for stream, name in ((first, "astronaut"), (second, "obama")):
            stream.receive_json()
            assert [face["track_id"] for face in send_at(stream, 1, jpeg(name))["faces"]] == [1]


def test_a_stream_of_another_kind_is_denied(client):
    assert denied(client, "/v1/stream?model=nothing") == (404, "model_unknown")
    assert denied(client, subprotocols=["chat"]) == (400, "protocol")
    with client.websocket_connect("/v1/stream") as stream:  # a client that asks for no protocol gets it, too
        assert stream.accepted_subprotocol is None
        assert stream.receive_json()["type"] == "ready"


def test_tokens_come_as_a_subprotocol_or_a_header(tiny_model, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(TOKEN)
    with client_of(model=(str(tiny_model),), token_file=file) as client:
        assert denied(client, subprotocols=["mien.v1"]) == (401, "token")
        assert denied(client, subprotocols=["mien.v1", f"bearer.{TOKEN}x"]) == (401, "token")
        with client.websocket_connect("/v1/stream", subprotocols=["mien.v1", f"bearer.{TOKEN}"]) as stream:
            assert stream.accepted_subprotocol == "mien.v1"
        with client.websocket_connect("/v1/stream", headers={"Authorization": f"Bearer {TOKEN}"}) as stream:
            assert stream.receive_json()["type"] == "ready"


def test_connections_and_their_silence_have_limits(tiny_model):
    with client_of(model=(str(tiny_model),), max_streams=1, stream_idle_s=0.5) as client:
        with client.websocket_connect("/v1/stream") as stream:
            assert denied(client) == (503, "busy")
            stream.receive_json()
            with pytest.raises(WebSocketDisconnect) as raised:
                stream.receive_json()
            assert raised.value.code == 1008
        with client.websocket_connect("/v1/stream") as stream:
            assert stream.receive_json()["type"] == "ready"


def test_a_server_that_ends_answers_the_image_in_work_and_goes_away(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        service = client.app.state.service
        with client.websocket_connect("/v1/stream") as stream:
            stream.receive_json()
            stream.send_bytes(jpeg())
            assert stream.receive_json()["type"] == "frame"
            client.portal.call(service.drain)
            with pytest.raises(WebSocketDisconnect) as raised:
                stream.receive_json()
            assert raised.value.code == 1001
        assert denied(client) == (503, "ending")


def test_a_broken_network_is_told_without_its_path(stream, monkeypatch):
    def fail(self, frame):
        raise ModelError("/secret/path.onnx is broken")

    with monkeypatch.context() as patch:
        patch.setattr(FaceFollower, "step", fail)
        stream.send_bytes(jpeg())
        text = stream.receive_text()
    assert json.loads(text)["code"] == "model"
    assert "secret" not in text


def test_a_mistake_of_ours_ends_the_connection_and_nothing_else(client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(FaceFollower, "step", lambda self, frame: 1 / 0)
        with client.websocket_connect("/v1/stream") as stream:
            stream.receive_json()
            stream.send_bytes(jpeg())
            with pytest.raises(WebSocketDisconnect) as raised:
                stream.receive_json()
            assert raised.value.code == 1011
    with client.websocket_connect("/v1/stream") as stream:
        assert stream.receive_json()["type"] == "ready"


def test_frames_are_counted(client, stream):
    stream.send_bytes(BAD)
    stream.receive_json()
    text = client.get("/metrics").text
    assert "mien_streams 1.0" in text
    assert 'mien_stream_frames_total{outcome="unreadable"}' in text
