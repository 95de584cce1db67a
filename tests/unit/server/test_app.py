"""What answers on which path, in this process: results, refusals, files, logs and counters."""

from __future__ import annotations

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.cli.main import main
from mien.errors import InputError, ModelError, UnknownModelError
from mien.inference.analyzer import Analyzer
from mien.inference.classifier import ExpressionClassifier
from mien.server.app import create_app
from mien.server.logs import JsonFormatter
from mien.server.settings import ServerSettings
from mien.server.static import HEADERS
from support.models import make_model
from support.server import BAD, JPEG, TOKEN, client_of, error_of, form, jpeg


@pytest.fixture(scope="module")
def client(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        yield client


def test_one_image_as_the_body_is_read_as_predict_reads_it(client, tiny_model):
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


def test_many_images_of_a_form_are_answered_in_order(client):
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
    with client_of(model=(str(tiny_model),), workers=1, batch_window_ms=5000, batch_images=3) as client:

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
        (b"", "image/jpeg", 422, "no_image"),
        (b"x", "application/json", 415, "body_kind"),
        (b"x", "", 415, "body_kind"),
        (b"x", "multipart/form-data", 400, "body_broken"),
        (b"x", "multipart/form-data; boundary=b", 400, "body_broken"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "no_image"),
    ],
)
def test_wrong_bodies_are_refused(client, content, kind, status, code):
    headers = {"Content-Type": kind} if kind else {}
    assert error_of(client.post("/v1/analyze", content=content, headers=headers), status) == code


@pytest.mark.parametrize(
    "files", [[("image", ("a.jpg", b"x"))], [("images", (None, b"x"))]], ids=["name", "no file"]
)
def test_a_field_that_is_no_image_is_refused(client, files):
    assert error_of(client.post("/v1/analyze", files=files), 422) == "field"


def test_unknown_paths_and_methods_are_refused_alike(client):
    assert error_of(client.get("/v1/nothing"), 404) == "not_found"
    assert error_of(client.get("/v1/analyze"), 405) == "method"


def test_models_are_described(client, tiny_model):
    answer = client.get("/v1/models").json()
    assert answer["default"] == "tiny"
    assert answer["models"][0]["labels"][0] == "neutral"
    assert {"name", "version", "licence", "trained_on", "metrics", "temperature"} <= set(answer["models"][0])


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
    monkeypatch.setattr(client.app.state.service.pool, "to_dict", lambda: 1 / 0)
    answer = client.get("/v1/models", headers={"X-Request-ID": "mine"})
    assert error_of(answer, 500) == "internal"
    assert "mine" in answer.text
    assert "division" not in answer.text


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
    assert records[0]["images"] == 2
    assert records[0]["request_id"]
    assert not any(word in line for word in ("jane", TOKEN, "image that") for line in lines)


def test_what_happened_is_counted(tiny_model):
    with client_of(model=(str(tiny_model),)) as client:
        client.post("/v1/analyze", files=form(jpeg(), BAD))
        client.post("/v1/analyze", content=b"x")
        text = client.get("/metrics").text
    for line in (
        'mien_requests_total{method="POST",path="/v1/analyze",status="200"} 1.0',
        'mien_requests_total{method="POST",path="/v1/analyze",status="415"} 1.0',
        'mien_images_total{outcome="read"} 1.0',
        'mien_images_total{outcome="unreadable"} 1.0',
        "mien_faces_total 1.0",
        "mien_batch_images_sum 2.0",
        "mien_waiting_images 0.0",
    ):
        assert line in text


def test_a_image_without_a_face_is_no_error(client):
    answer = client.post(
        "/v1/analyze", content=jpeg("astronaut", 8), headers={"Content-Type": "application/octet-stream"}
    )
    assert answer.json()["results"][0]["faces"] == []


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
    monkeypatch.setattr("mien.server.static.PAGE", page)
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
