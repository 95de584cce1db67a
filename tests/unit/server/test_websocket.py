"""WebSocket protocol for live images, in this process."""

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
from mien.video.schedule import DetectionSchedule
from support.server import BAD, TOKEN, create_client, jpeg
from support.waiting import wait_until


@pytest.fixture(scope="module")
def client(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
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
def paused_analysis(monkeypatch):
    """Pause every analysis; return an event for a started analysis and one that resumes all of them."""
    started = threading.Event()
    resume = threading.Event()
    step = _Source.step

    def paused_step(self, frame):
        started.set()
        assert resume.wait(20)
        return step(self, frame)

    monkeypatch.setattr(_Source, "step", paused_step)
    return started, resume


@pytest.fixture
def fast_machine(monkeypatch):
    """Detections count as fast, however loaded this machine is."""
    monkeypatch.setattr(DetectionSchedule, "slow_down", lambda self, duration_s: None)


def analyze_at(stream, timestamp_s, data):
    stream.send_json({"type": "frame", "timestamp_s": timestamp_s})
    stream.send_bytes(data)
    return stream.receive_json()


def denial(client, path="/v1/stream", **options):
    with pytest.raises(WebSocketDenialResponse) as raised, client.websocket_connect(path, **options):
        pass
    return raised.value.status_code, raised.value.json()["error"]["code"]


@pytest.mark.usefixtures("fast_machine")
def test_face_is_tracked_and_its_prediction_smoothed(stream):
    answers = [analyze_at(stream, index / 25, jpeg()) for index in range(4)]
    assert [answer["type"] for answer in answers] == ["frame"] * 4
    assert [answer["frame_index"] for answer in answers] == [0, 1, 2, 3]
    assert [answer["timestamp_s"] for answer in answers] == [0, 0.04, 0.08, 0.12]
    assert {(answer["width"], answer["height"]) for answer in answers} == {(256, 256)}
    assert all(answer["latency_ms"] > 0 for answer in answers)
    faces = [answer["faces"] for answer in answers]
    assert [face["track_id"] for (face,) in faces] == [1, 1, 1, 1]
    assert all(face["smoothed"]["probabilities"] for (face,) in faces)
    # detected and classified in one frame of three, tracked in between
    assert [face["expression"] is not None for (face,) in faces] == [True, False, False, True]


@pytest.mark.usefixtures("fast_machine")
def test_every_image_of_a_slow_source_is_classified(stream):
    answers = [analyze_at(stream, index / 2, jpeg()) for index in range(6)]
    assert [answer["faces"][0]["track_id"] for answer in answers] == [1] * 6
    assert all(answer["faces"][0]["expression"] for answer in answers)


def test_timestamp_defaults_to_the_time_of_arrival(stream):
    stream.send_bytes(jpeg())
    timestamps = [stream.receive_json()["timestamp_s"]]

    def next_timestamp():
        stream.send_bytes(jpeg())
        timestamps.append(stream.receive_json()["timestamp_s"])
        return timestamps[-1]

    wait_until(lambda: next_timestamp() >= 0.05)
    assert timestamps[0] == 0
    assert timestamps == sorted(timestamps)
    assert timestamps[-1] < 20


def test_unreadable_images_are_reported_and_the_connection_stays_open(stream):
    for index, data in enumerate((BAD, b"", jpeg()[:100])):
        stream.send_bytes(data)
        answer = stream.receive_json()
        assert (answer["type"], answer["code"], answer["frame_index"]) == ("error", "image_unreadable", index)
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
        '{"type": "frame", "timestamp_s": 1, "max_faces": 1}',
        '{"type": "reset", "model": "tiny"}',
        '{"type": "settings", "max_faces": 1}',
        "[" * 100_000,
    ],
    ids=range(16),
)
def test_invalid_messages_are_reported_and_the_connection_stays_open(stream, text):
    stream.send_text(text)
    answer = stream.receive_json()
    assert (answer["type"], answer["code"]) == ("error", "message")
    assert "reset" in answer["message"]
    assert "/v1/stream?max_faces=1" in answer["message"]
    stream.send_bytes(jpeg())
    assert stream.receive_json()["type"] == "frame"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("max_eror=0.05", 422, "parameter_unknown"),
        ("annotated=true", 422, "parameter_unknown"),
        ("pose=true&pose=true", 422, "parameter_repeated"),
        ("max_faces=0", 422, "parameter"),
        ("max_faces=101", 422, "parameter"),
        ("detector_size=8192", 422, "parameter"),
        ("min_confidence=nan", 422, "parameter"),
        ("max_error=0.05", 422, "parameter"),
        ("model=", 404, "model_unknown"),
    ],
)
def test_denies_unknown_and_invalid_parameters(client, query, status, code):
    assert denial(client, f"/v1/stream?{query}") == (status, code)


def test_parameters_apply_to_every_image_of_a_connection(client):
    def first_faces(query):
        with client.websocket_connect(f"/v1/stream?{query}") as stream:
            stream.receive_json()
            return analyze_at(stream, 0, jpeg("group", 640))["faces"]

    everyone = first_faces("pose=true")
    assert len(everyone) > 1
    [largest] = first_faces("max_faces=1&pose=false")
    assert largest["bbox_xyxy"] == pytest.approx(everyone[0]["bbox_xyxy"], abs=5)
    assert (largest["head_pose_deg"], everyone[0]["head_pose_deg"] is None) == (None, False)
    assert first_faces("min_confidence=0.999") == []
    assert len(first_faces("detector_size=128")) < len(everyone)


def test_faces_left_out_by_the_limit_are_noted(tiny_model):
    with create_client(model=(str(tiny_model),), max_faces=3) as client:
        answers = []
        for query in ("", "?max_faces=3"):
            with client.websocket_connect(f"/v1/stream{query}") as stream:
                stream.receive_json()
                answers.append(analyze_at(stream, 0, jpeg("group", 640)))
    cut, requested = answers
    assert cut["faces"] == requested["faces"]
    assert len(cut["faces"]) == 3
    assert cut["note"] == "only the 3 largest faces were analyzed (mien serve --max-faces)."
    assert "note" not in requested


def test_timestamps_must_not_decrease_without_a_reset(stream):
    assert analyze_at(stream, 5, jpeg())["type"] == "frame"
    earlier = analyze_at(stream, 4, jpeg())
    assert (earlier["type"], earlier["code"], earlier["frame_index"]) == ("error", "input", 1)
    assert "reset" in earlier["message"]
    stream.send_json({"type": "reset"})
    assert stream.receive_json() == {"type": "reset"}
    answer = analyze_at(stream, 0, jpeg("obama"))
    assert (answer["type"], answer["frame_index"]) == ("frame", 2)
    assert [face["track_id"] for face in answer["faces"]] == [1]


def test_newer_image_replaces_the_pending_one(stream, paused_analysis):
    started, resume = paused_analysis
    stream.send_bytes(jpeg())
    assert started.wait(20)
    for _ in range(3):
        stream.send_bytes(jpeg())
    dropped = [stream.receive_json() for _ in range(2)]
    assert dropped == [{"type": "dropped", "frame_index": 1}, {"type": "dropped", "frame_index": 2}]
    resume.set()
    assert [stream.receive_json()["frame_index"] for _ in range(2)] == [0, 3]


def test_reset_drops_the_pending_image(stream, paused_analysis):
    started, resume = paused_analysis
    stream.send_bytes(jpeg())
    assert started.wait(20)
    stream.send_bytes(jpeg())
    stream.send_json({"type": "reset"})
    assert stream.receive_json() == {"type": "dropped", "frame_index": 1}
    resume.set()
    assert stream.receive_json()["frame_index"] == 0
    assert stream.receive_json() == {"type": "reset"}


def test_every_reset_is_answered(stream, paused_analysis):
    started, resume = paused_analysis
    stream.send_bytes(jpeg())
    assert started.wait(20)
    for _ in range(100):  # more than the answers that may wait
        stream.send_json({"type": "reset"})
    resume.set()
    assert stream.receive_json()["frame_index"] == 0
    assert [stream.receive_json() for _ in range(100)] == [{"type": "reset"}] * 100
    stream.send_bytes(jpeg())
    assert stream.receive_json()["type"] == "frame"


@pytest.mark.parametrize(("first", "second"), [(0.5, None), (None, 0.5)])
def test_images_with_and_without_timestamps_need_a_reset_in_between(stream, first, second):
    def analyze(timestamp_s):
        if timestamp_s is not None:
            stream.send_json({"type": "frame", "timestamp_s": timestamp_s})
        stream.send_bytes(jpeg())
        return stream.receive_json()

    assert analyze(first)["type"] == "frame"
    mixed = analyze(second)
    assert (mixed["type"], mixed["code"], mixed["frame_index"]) == ("error", "input", 1)
    assert mixed["message"].startswith("timestamp_s is given for some images only; send it for all or none")
    assert analyze(first)["type"] == "frame"
    stream.send_json({"type": "reset"})
    assert stream.receive_json() == {"type": "reset"}
    assert analyze(second)["type"] == "frame"


def test_slow_detections_are_less_frequent(stream, monkeypatch):
    def slow_step(self, frame):
        result = step(self, frame)
        if self.has_detected:
            time.sleep(0.1)
        return result

    step = FaceFollower.step
    monkeypatch.setattr(FaceFollower, "step", slow_step)
    answers = [analyze_at(stream, index / 10, jpeg()) for index in range(3)]
    # the next detection follows after 2.5 times the duration of the last one, here at least 0.25 s
    assert [answer["faces"][0]["expression"] is not None for answer in answers] == [True, False, False]


def test_image_after_a_reset_belongs_to_the_new_source(tiny_model, paused_analysis):
    started, resume = paused_analysis
    with (
        create_client(model=(str(tiny_model),), workers=1) as client,
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as other,
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as stream,
    ):
        other.send_bytes(jpeg())  # occupies the only worker
        assert started.wait(20)
        assert stream.receive_json()["type"] == "ready"
        stream.send_json({"type": "frame", "timestamp_s": 5})
        stream.send_bytes(jpeg())
        stream.send_json({"type": "reset"})
        stream.send_json({"type": "frame", "timestamp_s": 1})
        stream.send_bytes(jpeg())
        assert stream.receive_json() == {"type": "dropped", "frame_index": 0}
        resume.set()
        assert stream.receive_json() == {"type": "reset"}
        answer = stream.receive_json()
        assert (answer["type"], answer["frame_index"], answer["timestamp_s"]) == ("frame", 1, 1)


def test_connections_have_separate_tracks(client):
    with (
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as first,
        client.websocket_connect("/v1/stream", subprotocols=["mien.v1"]) as second,
    ):
        for stream, name in ((first, "astronaut"), (second, "obama")):
            stream.receive_json()
            assert [face["track_id"] for face in analyze_at(stream, 1, jpeg(name))["faces"]] == [1]


def test_denies_unknown_models_and_subprotocols(client):
    assert denial(client, "/v1/stream?model=nothing") == (404, "model_unknown")
    for path in ("/v1/streams", "/", "/models/tiny.onnx", "/v1/analyze"):
        assert denial(client, path) == (404, "not_found")
    assert denial(client, subprotocols=["chat"]) == (400, "protocol")
    # the subprotocol is optional
    with client.websocket_connect("/v1/stream") as stream:
        assert stream.accepted_subprotocol is None
        assert stream.receive_json()["type"] == "ready"


def test_token_is_accepted_as_subprotocol_or_header(tiny_model, tmp_path):
    file = tmp_path / "tokens"
    file.write_text(TOKEN)
    with create_client(model=(str(tiny_model),), token_file=file) as client:
        assert denial(client, subprotocols=["mien.v1"]) == (401, "token")
        assert denial(client, subprotocols=["mien.v1", f"bearer.{TOKEN}x"]) == (401, "token")
        with client.websocket_connect("/v1/stream", subprotocols=["mien.v1", f"bearer.{TOKEN}"]) as stream:
            assert stream.accepted_subprotocol == "mien.v1"
        with client.websocket_connect("/v1/stream", headers={"Authorization": f"Bearer {TOKEN}"}) as stream:
            assert stream.receive_json()["type"] == "ready"


def test_connection_count_and_idle_time_are_limited(tiny_model):
    with create_client(model=(str(tiny_model),), max_streams=1, stream_idle_s=0.5) as client:
        with client.websocket_connect("/v1/stream") as stream:
            assert denial(client) == (503, "busy")
            stream.receive_json()
            with pytest.raises(WebSocketDisconnect) as raised:
                stream.receive_json()
            assert raised.value.code == 1008
            assert "--stream-idle-s" in raised.value.reason
        with client.websocket_connect("/v1/stream") as stream:
            assert stream.receive_json()["type"] == "ready"


def test_drain_closes_connections_and_denies_new_ones(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        service = client.app.state.service
        with client.websocket_connect("/v1/stream") as stream:
            stream.receive_json()
            stream.send_bytes(jpeg())
            assert stream.receive_json()["type"] == "frame"
            client.portal.call(service.drain)
            with pytest.raises(WebSocketDisconnect) as raised:
                stream.receive_json()
            assert (raised.value.code, raised.value.reason) == (1001, "the server is shutting down")
        assert denial(client) == (503, "ending")


def test_image_in_work_is_answered_before_the_connection_closes(tiny_model, paused_analysis):
    started, resume = paused_analysis
    with create_client(model=(str(tiny_model),)) as client, client.websocket_connect("/v1/stream") as stream:
        assert stream.receive_json()["type"] == "ready"
        stream.send_bytes(jpeg())
        assert started.wait(20)
        draining = client.portal.start_task_soon(client.app.state.service.drain)
        resume.set()
        assert stream.receive_json()["type"] == "frame"
        with pytest.raises(WebSocketDisconnect) as raised:
            stream.receive_json()
        assert raised.value.code == 1001
        draining.result(timeout=20)


def test_model_failure_is_answered_without_its_path(stream, monkeypatch):
    def fail(self, frame):
        raise ModelError("/secret/path.onnx is broken")

    with monkeypatch.context() as patch:
        patch.setattr(FaceFollower, "step", fail)
        stream.send_bytes(jpeg())
        text = stream.receive_text()
    assert json.loads(text)["code"] == "model"
    assert "secret" not in text


def test_unexpected_exception_closes_only_its_connection(client, monkeypatch):
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


def test_metrics_count_frames(client, stream):
    stream.send_bytes(BAD)
    stream.receive_json()
    text = client.get("/metrics").text
    assert "mien_streams 1.0" in text
    assert 'mien_stream_frames_total{outcome="unreadable"}' in text
