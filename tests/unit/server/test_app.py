"""HTTP routes, in this process: results, errors, static files, logs and metrics."""

from __future__ import annotations

import gzip
import json
import logging
import re

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
from support.server import BAD, JPEG, TOKEN, create_client, error_code, form, jpeg


@pytest.fixture(scope="module")
def client(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        yield client


def test_single_image_body_gives_the_result_of_the_analyzer(client, tiny_model):
    response = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
    expected = [face.to_dict() for face in Analyzer(tiny_model, threads=1).analyze(jpeg())]
    assert response.status_code == 200
    assert response.json()["model"] == "tiny"
    (result,) = response.json()["results"]
    assert (result["image"], result["width"], result["height"], result["error"]) == ("image 0", 256, 256, None)
    assert len(expected) == 1
    assert result["faces"][0]["bbox_xyxy"] == expected[0]["bbox_xyxy"]
    assert result["faces"][0]["expression"]["label"] == expected[0]["expression"]["label"]


def test_form_images_are_answered_in_order(client):
    response = client.post("/v1/analyze", files=form(jpeg("group", 640), BAD, jpeg(), b""))
    results = response.json()["results"]
    assert [result["image"] for result in results] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert [len(result["faces"]) > 1 for result in results] == [True, False, False, False]
    assert [(result["error"] or {}).get("code") for result in results] == [
        None,
        "image_unreadable",
        None,
        "image_unreadable",
    ]


def test_results_of_several_images_equal_those_of_the_analyzer(client, tiny_model):
    images = [jpeg(name) for name in ("astronaut", "obama", "biden")]
    results = client.post("/v1/analyze", files=form(*images)).json()["results"]
    analyzer = Analyzer(tiny_model, threads=1)
    assert [result["faces"] for result in results] == [analyzer.analyze(image).to_dict()["faces"] for image in images]


def test_max_faces_and_pose_parameters(client):
    response = client.post(
        "/v1/analyze?max_faces=2&pose=false", content=jpeg("group", 640), headers={"Content-Type": "image/png"}
    )
    faces = response.json()["results"][0]["faces"]
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
def test_rejects_invalid_parameters(client, query, status, code):
    assert error_code(client.post(f"/v1/analyze?{query}", content=jpeg(), headers=JPEG), status) == code


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (BAD, "image/jpeg", 422, "image_unreadable"),
        (b"", "image/jpeg", 422, "no_image"),
        (b"x", "application/json", 400, "body_broken"),
        (b"x", "application/x-www-form-urlencoded", 415, "body_kind"),
        (b"x", "", 415, "body_kind"),
        (b"x", "multipart/form-data", 400, "body_broken"),
        (b"x", "multipart/form-data; boundary=b", 400, "body_broken"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "no_image"),
    ],
)
def test_rejects_invalid_bodies(client, content, content_type, status, code):
    headers = {"Content-Type": content_type} if content_type else {}
    assert error_code(client.post("/v1/analyze", content=content, headers=headers), status) == code


@pytest.mark.parametrize("files", [[("image", ("a.jpg", b"x"))], [("images", (None, b"x"))]], ids=["name", "no file"])
def test_rejects_form_fields_that_are_not_images(client, files):
    assert error_code(client.post("/v1/analyze", files=files), 422) == "field"


@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_body_that_is_a_path_does_not_reveal_whether_the_file_exists(client, tmp_path, suffix):
    file = tmp_path / f"present{suffix}"
    file.write_bytes(jpeg())
    details = []
    for name in (file, tmp_path / f"missing{suffix}"):
        response = client.post("/v1/analyze", content=str(name).encode(), headers=JPEG)
        assert response.status_code == 422
        details.append(response.json()["detail"].replace(name.name, "NAME"))
    assert details[0] == details[1]


def test_unknown_paths_and_methods_have_json_errors(client):
    assert error_code(client.get("/v1/nothing"), 404) == "not_found"
    for path, nearest in (("/v1/analyse", "/v1/analyze"), ("/health", "/healthz"), ("/v1/model", "/v1/models")):
        response = client.post(path)
        assert error_code(response, 404) == "not_found"
        assert f"Did you mean {nearest}?" in response.json()["detail"]
    response = client.get("/v1/analyze")
    assert error_code(response, 405) == "method"
    assert "use POST" in response.json()["detail"]
    assert response.headers["Allow"] == "OPTIONS, POST"


def test_head_is_answered_as_get_without_the_body(client):
    for path in ("/healthz", "/readyz", "/v1/models", "/openapi.json"):
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert client.head("/v1/analyze").status_code == 405
    assert client.head("/models/tiny.onnx").status_code == 200
    assert client.head("/healthz?x=1").status_code == 422


def test_options_lists_the_methods_of_a_path(client):
    for path, methods in (("/v1/analyze", "OPTIONS, POST"), ("/healthz", "GET, HEAD, OPTIONS")):
        response = client.options(path)
        assert (response.status_code, response.headers["Allow"], response.content) == (204, methods, b"")


def test_lists_models_with_their_manifests(client, tiny_model):
    response = client.get("/v1/models").json()
    assert response["default"] == "tiny"
    assert response["models"][0]["labels"][0] == "neutral"
    assert {"name", "version", "license", "trained_on", "metrics", "temperature"} <= set(response["models"][0])


def test_model_failure_is_answered_without_its_path(client, monkeypatch):
    def fail(self, crops, **options):
        raise ModelError("/secret/path.onnx is broken")

    with monkeypatch.context() as patch:
        patch.setattr(ExpressionClassifier, "logits", fail)
        response = client.post("/v1/analyze", content=jpeg(), headers=JPEG)
    assert error_code(response, 500) == "model"
    assert "secret" not in response.text
    assert client.post("/v1/analyze", content=jpeg(), headers=JPEG).status_code == 200


def test_unexpected_exception_is_answered_with_its_request_id_only(client, monkeypatch):
    monkeypatch.setattr(client.app.state.service.pool, "to_dict", lambda: 1 / 0)
    response = client.get("/v1/models", headers={"X-Request-ID": "mine"})
    assert error_code(response, 500) == "internal"
    assert "mine" in response.text
    assert "division" not in response.text


def test_every_response_has_security_headers(client):
    for path in ("/healthz", "/v1/nothing", "/models/tiny.onnx"):
        response = client.get(path)
        assert {name: response.headers[name] for name in HEADERS} == HEADERS


def test_model_files_are_served_with_revalidation(client, tiny_model):
    sizes = {"tiny": tiny_model.stat().st_size}
    assert client.get("/models/index.json").json() == {"default": "tiny", "models": ["tiny"], "size_bytes": sizes}
    response = client.get("/models/tiny.onnx")
    assert response.content == tiny_model.read_bytes()
    again = client.get("/models/tiny.onnx", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("face-detector.onnx", "face-landmarks.json", "face-geometry.json"):
        assert client.get(f"/models/{name}").status_code == 200
    for name in ("expression.onnx", "../settings.py", "", "a" * 5000, "%00"):
        assert error_code(client.get(f"/models/{name}"), 404) == "not_found"


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=x", "bytes=5-2"])
def test_invalid_range_of_a_file_is_a_problem(client, tiny_model, header):
    response = client.get("/models/tiny.onnx", headers={"Range": header})
    assert error_code(response, 416) == "range"
    if header == "bytes=99999999-":
        assert response.headers["Content-Range"] == f"bytes */{tiny_model.stat().st_size}"


def test_ranges_of_a_file(client, tiny_model):
    part = client.get("/models/tiny.onnx", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, tiny_model.read_bytes()[5:10])
    # unknown units are ignored
    whole = client.get("/models/tiny.onnx", headers={"Range": "lines=1"})
    assert (whole.status_code, whole.content) == (200, tiny_model.read_bytes())


def test_stream_without_an_upgrade_names_the_header(client):
    response = client.get("/v1/stream")
    assert error_code(response, 426) == "upgrade"
    assert response.headers["Upgrade"] == "websocket"
    assert "forward the Upgrade header" in response.json()["detail"]


def test_valid_request_ids_of_the_client_are_kept(client):
    assert client.get("/healthz", headers={"X-Request-ID": "a.b-1"}).headers["X-Request-ID"] == "a.b-1"
    for invalid in ("", "a" * 65, "a b", 'a"}', "ä".encode()):
        response = client.get("/healthz", headers={"X-Request-ID": invalid})
        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_log_has_no_data_that_clients_sent(tiny_model, tmp_path):
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
        with create_client(model=(str(tiny_model),), token_file=file) as client:
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
    assert not any(text in line for text in ("jane", TOKEN, "image that") for line in lines)


def test_metrics_count_requests_images_and_faces(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        client.post("/v1/analyze", files=form(jpeg(), BAD))
        client.post("/v1/analyze", content=b"x")
        text = client.get("/metrics").text
    for line in (
        'mien_requests_total{method="POST",path="/v1/analyze",status="200"} 1.0',
        'mien_requests_total{method="POST",path="/v1/analyze",status="415"} 1.0',
        'mien_images_total{outcome="read"} 1.0',
        'mien_images_total{outcome="unreadable"} 1.0',
        "mien_faces_total 1.0",
        "mien_image_seconds_count 2.0",
        "mien_waiting_images 0.0",
    ):
        assert line in text


def test_image_without_faces_has_an_empty_list(client):
    response = client.post(
        "/v1/analyze", content=jpeg("astronaut", 8), headers={"Content-Type": "application/octet-stream"}
    )
    assert response.json()["results"][0]["faces"] == []


def test_rejects_unknown_models_and_duplicate_names(tiny_model, tmp_path):
    with pytest.raises(UnknownModelError):
        create_app(ServerSettings(model=("nothing",)))
    other = make_model(tmp_path / "tiny.onnx")
    with pytest.raises(InputError, match="two models are named tiny"):
        create_app(ServerSettings(model=(str(tiny_model), str(other))))


def test_model_parameter_selects_the_model(tiny_model, tmp_path):
    other = make_model(tmp_path / "other.onnx", temperature=9.0)
    with create_client(model=(str(tiny_model), str(other))) as client:
        response = client.post("/v1/analyze?model=other", content=jpeg(), headers=JPEG)
        assert response.json()["model"] == "other"
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["tiny", "other"]


def test_write_page_for_a_static_file_host(tiny_model, tmp_path, capsys, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets/index-1234.js").write_text("1")
    (page / "assets/runtime-1234.wasm.gz").write_bytes(gzip.compress(b"wasm"))
    monkeypatch.setattr("mien.server.static.PAGE", page)
    folder = tmp_path / "out"
    arguments = ["serve", "--write-page", str(folder), "--model", str(tiny_model)]
    assert main(arguments) == 0
    assert "Cross-Origin-Opener-Policy: same-origin" in capsys.readouterr().out
    assert (folder / "index.html").read_text() == "<!doctype html>"
    assert (folder / "assets/runtime-1234.wasm").read_bytes() == b"wasm"
    assert not (folder / "assets/runtime-1234.wasm.gz").exists()
    assert json.loads((folder / "models/index.json").read_text())["models"] == ["tiny"]
    assert {path.name for path in (folder / "models").iterdir()} >= {"tiny.onnx", "tiny.json", "face-geometry.json"}
    assert main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    (page / "index.html").unlink()
    assert main(["serve", "--write-page", str(tmp_path / "none")]) == 2
    assert "npm" in capsys.readouterr().err


def test_page_is_served_and_its_hashed_files_are_immutable(tiny_model, tmp_path, monkeypatch):
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "assets/index-1234.js").write_text("1")
    (page / "assets/runtime-1234.wasm.gz").write_bytes(gzip.compress(b"wasm"))
    monkeypatch.setattr("mien.server.app.PAGE", page)
    with create_client(model=(str(tiny_model),)) as client:
        assert client.get("/").text == "<!doctype html>"
        assert client.get("/").headers["Cache-Control"] == "no-cache"
        asset = client.get("/assets/index-1234.js")
        assert "immutable" in asset.headers["Cache-Control"]
        assert "javascript" in asset.headers["Content-Type"]
        runtime = client.get("/assets/runtime-1234.wasm")
        assert runtime.content == b"wasm"
        assert runtime.headers["Content-Type"] == "application/wasm"
        assert "immutable" in runtime.headers["Cache-Control"]
        assert client.get("/assets/none.js").status_code == 404
        assert client.get("/assets/none.wasm").status_code == 404
    (page / "index.html").unlink()
    with create_client(model=(str(tiny_model),)) as client:
        assert error_code(client.get("/"), 404) == "page"
