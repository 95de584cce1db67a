"""What answers on which path, in this process: results, refusals, tokens, origins, files, logs and counters."""

from __future__ import annotations

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.websockets import WebSocketDisconnect

from conftest import make_model
from mien.cli.main import main
from mien.errors import InputError, ModelError, UnknownModelError
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.server.app import create_app
from mien.server.files import HEADERS
from mien.server.logs import JsonFormatter
from mien.server.settings import ServerSettings
from server_made import BAD, JPEG, client_of, form, jpeg

TOKEN = "a-token-of-enough-signs"


@pytest.fixture(scope="module")
def client(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        yield client


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]["code"]


def test_one_picture_as_the_body_is_read_as_predict_reads_it(client, tiny_model):
    answer = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
    expected = [face.to_dict() for face in Analyzer(tiny_model, threads=1).analyze(jpeg())]
    assert answer.status_code == 200
    assert answer.json()["model"] == "tiny"
    (result,) = answer.json()["results"]
    assert (result["image"], result["width"], result["height"], result["error"]) == (
        "image 0",
        256,
        256,
        None,
    )
    assert len(expected) == 1
    assert result["faces"][0]["bbox_xyxy"] == expected[0]["bbox_xyxy"]
    assert result["faces"][0]["expression"]["label"] == expected[0]["expression"]["label"]


def test_many_pictures_of_a_form_are_answered_in_order(client):
    answer = client.post("/v1/analyze", files=form(jpeg("group", 640), BAD, jpeg(), b""))
    results = answer.json()["results"]
    assert [result["image"] for result in results] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [len(result["faces"]) > 1 for result in results] == [True, False, False, False]
    assert [(result["error"] or {}).get("code") for result in results] == [
        None,
        "image_unreadable",
        None,
        "image_unreadable",
    ]


def test_the_faces_of_several_requests_go_through_the_network_at_once(tiny_model, monkeypatch):
    seen, logits = [], ExpressionClassifier.logits
    monkeypatch.setattr(
        ExpressionClassifier,
        "logits",
        lambda self, crops, **words: seen.append(len(crops)) or logits(self, crops, **words),
    )
    names = ["astronaut", "obama", "biden"]
    with client_of(model=(str(tiny_model),), workers=1, batch_window_ms=5000, batch_pictures=3) as client:

        def post(name):
            return client.post("/v1/analyze", content=jpeg(name), headers=JPEG).json()["results"][0]

        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(post, names))
    assert seen == [3]
    analyzer = Analyzer(tiny_model, threads=1)
    for name, result in zip(names, together, strict=True):
        (face,) = analyzer.analyze(jpeg(name))
        assert result["faces"][0]["bbox_xyxy"] == face.to_dict()["bbox_xyxy"]


def test_fewer_faces_and_no_pose_when_asked(client):
    answer = client.post(
        "/v1/analyze?max_faces=2&pose=false",
        content=jpeg("group", 640),
        headers={"Content-Type": "image/png"},
    )
    faces = answer.json()["results"][0]["faces"]
    assert [face["head_pose_deg"] for face in faces] == [None, None]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("model=nothing", 404, "model_unknown"),
        ("max_faces=0", 422, "parameter"),
        ("max_faces=many", 422, "parameter"),
        ("pose=perhaps", 422, "parameter"),
    ],
)
def test_wrong_parameters_are_refused(client, query, status, code):
    assert error_of(client.post(f"/v1/analyze?{query}", content=jpeg(), headers=JPEG), status) == code


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (BAD, "image/jpeg", 422, "image_unreadable"),
        (b"", "image/jpeg", 422, "no_picture"),
        (b"x", "application/json", 415, "body_kind"),
        (b"x", "", 415, "body_kind"),
        (b"x", "multipart/form-data", 400, "body_broken"),
        (b"x", "multipart/form-data; boundary=b", 400, "body_broken"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "no_picture"),
    ],
)
def test_wrong_bodies_are_refused(client, content, kind, status, code):
    headers = {"Content-Type": kind} if kind else {}
    assert error_of(client.post("/v1/analyze", content=content, headers=headers), status) == code


@pytest.mark.parametrize(
    "files", [[("picture", ("a.jpg", b"x"))], [("images", (None, b"x"))]], ids=["name", "no file"]
)
def test_a_field_that_is_no_picture_is_refused(client, files):
    assert error_of(client.post("/v1/analyze", files=files), 422) == "field"


def test_unknown_paths_and_methods_are_refused_alike(client):
    assert error_of(client.get("/v1/nothing"), 404) == "not_found"
    assert error_of(client.get("/v1/analyze"), 405) == "method"


def test_models_are_described(client, tiny_model):
    answer = client.get("/v1/models").json()
    assert answer["default"] == "tiny"
    assert answer["models"][0]["labels"][0] == "neutral"
    assert {"name", "version", "licence", "trained_on", "metrics", "temperature"} <= set(answer["models"][0])


def test_bodies_pictures_and_pixels_have_limits(tiny_model):
    limits = {"max_body_bytes": 50_000, "max_pictures": 2, "max_pixels": 256 * 256}
    with client_of(model=(str(tiny_model),), **limits) as client:
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200
        large = client.post("/v1/analyze", content=bytes(50_001), headers=JPEG)
        assert error_of(large, 413) == "body_large"
        piecewise = client.post("/v1/analyze", content=(bytes(30_000) for _ in range(2)), headers=JPEG)
        assert error_of(piecewise, 413) == "body_large"
        many = client.post("/v1/analyze", files=form(jpeg(), jpeg(), jpeg()))
        assert error_of(many, 413) == "too_many_pictures"
        wide = client.post("/v1/analyze", content=jpeg(side=257), headers=JPEG)
        assert error_of(wide, 422) == "image_unreadable"
        assert "the limit is" in wide.json()["error"]["message"]
        service = client.app.state.service
        assert (service.admission.pictures, service.admission.bytes) == (0, 0)


def test_a_full_server_answers_429_before_it_takes_the_body(tiny_model):
    with client_of(model=(str(tiny_model),), max_waiting=2, max_pictures=2) as client:
        admission = client.app.state.service.admission
        with admission.ticket() as ticket:
            two = client.post("/v1/analyze", files=form(jpeg(), jpeg()))
            assert error_of(two, 429) == "busy"
            ticket.add_pictures(1)
            busy = client.post("/v1/analyze", content=BAD, headers={"Content-Type": "unknown"})
            assert error_of(busy, 429) == "busy"
            assert int(busy.headers["Retry-After"]) >= 1
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_the_bytes_that_wait_have_a_limit(tiny_model):
    with client_of(model=(str(tiny_model),), max_body_bytes=60_000, max_waiting_bytes=60_000) as client:
        with client.app.state.service.admission.ticket() as ticket:
            ticket.add_bytes(59_000)
            assert error_of(client.post("/v1/analyze", content=jpeg(), headers=JPEG), 429) == "busy"
        assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_pictures_that_take_too_long_are_given_up(tiny_model):
    with client_of(model=(str(tiny_model),), batch_window_ms=60_000, request_timeout_s=0.05) as client:
        answer = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
        assert error_of(answer, 503) == "slow"
        assert int(answer.headers["Retry-After"]) >= 1
        assert client.app.state.service.admission.pictures == 0


def test_a_server_that_ends_takes_nothing_new(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        client.app.state.service.admission.is_draining = True
        for answer in (client.get("/readyz"), client.post("/v1/analyze", content=jpeg(), headers=JPEG)):
            assert error_of(answer, 503) == "ending"
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Connection"] == "close"
        assert client.get("/healthz").status_code == 200


def test_a_broken_network_is_told_without_its_path_and_the_server_goes_on(client, monkeypatch):
    def fail(self, crops, **words):
        raise ModelError("/secret/path.onnx is broken")

    with monkeypatch.context() as patch:
        patch.setattr(ExpressionClassifier, "logits", fail)
        answer = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
    assert error_of(answer, 500) == "model"
    assert "secret" not in answer.text
    assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_a_mistake_of_ours_is_told_by_its_id_alone(client, monkeypatch):
    monkeypatch.setattr(client.app.state.service.shelf, "to_dict", lambda: 1 / 0)
    answer = client.get("/v1/models", headers={"X-Request-ID": "mine"})
    assert error_of(answer, 500) == "internal"
    assert "mine" in answer.text
    assert "division" not in answer.text


@pytest.mark.parametrize("sent", ["/v1/models", "/metrics"])
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


def test_other_origins_are_shut_out_unless_they_are_allowed(tiny_model):
    near, far, allowed = "http://mien.test", "http://far.test", "https://allowed.test"
    with client_of(model=(str(tiny_model),)) as client:
        assert client.get("/v1/models", headers={"Origin": near}).status_code == 200
        assert error_of(client.get("/v1/models", headers={"Origin": far}), 403) == "origin"
        assert error_of(client.get("/v1/models", headers={"Origin": "null"}), 403) == "origin"
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


def test_every_answer_has_the_headers_that_threads_and_safety_need(client):
    for path in ("/healthz", "/v1/nothing", "/models/tiny.onnx"):
        answer = client.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_model_files_are_served_and_kept_by_browsers(client, tiny_model):
    assert client.get("/models/index.json").json() == {"default": "tiny", "models": ["tiny"]}
    answer = client.get("/models/tiny.onnx")
    assert answer.content == tiny_model.read_bytes()
    again = client.get("/models/tiny.onnx", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("face-detector.onnx", "face-landmarks.json", "face-geometry.json"):
        assert client.get(f"/models/{name}").status_code == 200
    for name in ("expression.onnx", "../settings.py", "", "a" * 5000, "%00"):
        assert error_of(client.get(f"/models/{name}"), 404) == "not_found"


def test_request_ids_are_taken_when_they_are_sane(client):
    assert client.get("/healthz", headers={"X-Request-ID": "a.b-1"}).headers["X-Request-ID"] == "a.b-1"
    for odd in ("", "a" * 65, "a b", 'a"}', "ä".encode()):
        answer = client.get("/healthz", headers={"X-Request-ID": odd})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_logs_tell_of_requests_but_nothing_that_was_sent(tiny_model, tmp_path):
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(JsonFormatter().format(record))
    logger = logging.getLogger("mien.server")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        file = tmp_path / "tokens"
        file.write_text(TOKEN)
        with client_of(model=(str(tiny_model),), token_file=file) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            files = [("images", ("jane.jpg", jpeg())), ("images", ("bad-jane.jpg", BAD))]
            client.post("/v1/analyze?model=tiny", files=files, headers=headers)
            client.get("/photo-of-jane.jpg?jane", headers={**headers, "Cookie": "jane"})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    records = [json.loads(line) for line in lines]
    assert [(record["path"], record["status"]) for record in records] == [("/v1/analyze", 200), ("page", 404)]
    assert records[0]["pictures"] == 2
    assert records[0]["request_id"]
    assert not any(word in line for word in ("jane", TOKEN, "picture that") for line in lines)


def test_what_happened_is_counted(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        client.post("/v1/analyze", files=form(jpeg(), BAD))
        client.post("/v1/analyze", content=b"x")
        text = client.get("/metrics").text
    for line in (
        'mien_requests_total{method="POST",path="/v1/analyze",status="200"} 1.0',
        'mien_requests_total{method="POST",path="/v1/analyze",status="415"} 1.0',
        'mien_pictures_total{outcome="read"} 1.0',
        'mien_pictures_total{outcome="unreadable"} 1.0',
        "mien_faces_total 1.0",
        "mien_batch_pictures_sum 2.0",
        "mien_waiting_pictures 0.0",
    ):
        assert line in text


def test_a_picture_without_a_face_is_no_error(client):
    answer = client.post(
        "/v1/analyze", content=jpeg("astronaut", 8), headers={"Content-Type": "application/octet-stream"}
    )
    assert answer.json()["results"][0]["faces"] == []


def test_settings_that_mean_nothing_are_refused():
    for wrong in (
        {"port": -1},
        {"port": 65536},
        {"max_waiting": 0},
        {"batch_pictures": 0},
        {"body_timeout_s": 0},
        {"max_pictures": 200},
        {"max_body_bytes": 2**30},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ServerSettings(**wrong)


def test_without_batching_one_worker_has_all_threads():
    alone, together = ServerSettings(batch_pictures=1), ServerSettings(workers=1)
    assert alone.worker_count == together.worker_count == 1
    assert alone.network_threads == together.network_threads >= 1


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000\n", 1), ("10000 100000\n", 1), ("max 100000\n", None), ("", None)]
)
def test_a_container_s_share_of_the_processor_counts(tmp_path, monkeypatch, quota, cores):
    everywhere = ServerSettings().worker_count
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("mien.server.settings.CPU_QUOTA", tmp_path / "cpu.max")
    assert ServerSettings().worker_count == (cores or everywhere)


def test_models_that_cannot_be_served_are_refused(tiny_model, tmp_path):
    with pytest.raises(UnknownModelError):
        create_app(ServerSettings(model=("nothing",)))
    other = make_model(tmp_path / "tiny.onnx")
    with pytest.raises(InputError, match="two models are named tiny"):
        create_app(ServerSettings(model=(str(tiny_model), str(other))))


def test_models_can_be_chosen(tiny_model, tmp_path):
    other = make_model(tmp_path / "other.onnx", temperature=9.0)
    with client_of(model=(str(tiny_model), str(other))) as client:
        answer = client.post("/v1/analyze?model=other", content=jpeg(), headers=JPEG)
        assert answer.json()["model"] == "other"
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["tiny", "other"]


def test_the_page_can_be_written_for_any_host(tiny_model, tmp_path, capsys, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets/index-1234.js").write_text("1")
    monkeypatch.setattr("mien.server.files.PAGE", page)
    folder = tmp_path / "out"
    words = ["serve", "--write-page", str(folder), "--model", str(tiny_model)]
    assert main(words) == 0
    assert "Cross-Origin-Opener-Policy: same-origin" in capsys.readouterr().out
    assert (folder / "index.html").read_text() == "<!doctype html>"
    assert json.loads((folder / "models/index.json").read_text()) == {"default": "tiny", "models": ["tiny"]}
    assert {path.name for path in (folder / "models").iterdir()} >= {
        "tiny.onnx",
        "tiny.json",
        "face-geometry.json",
    }
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    (page / "index.html").unlink()
    assert main(["serve", "--write-page", str(tmp_path / "none")]) == 2
    assert "npm" in capsys.readouterr().err


def test_the_page_is_served_and_its_named_files_are_kept_for_ever(tiny_model, tmp_path, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets/index-1234.js").write_text("1")
    monkeypatch.setattr("mien.server.app.PAGE", page)
    with client_of(model=(str(tiny_model),)) as client:
        assert client.get("/").text == "<!doctype html>"
        assert client.get("/").headers["Cache-Control"] == "no-cache"
        kept = client.get("/assets/index-1234.js")
        assert "immutable" in kept.headers["Cache-Control"]
        assert "javascript" in kept.headers["Content-Type"]
        assert client.get("/assets/none.js").status_code == 404
    (page / "index.html").unlink()
    with client_of(model=(str(tiny_model),)) as client:
        assert error_of(client.get("/"), 404) == "page"
