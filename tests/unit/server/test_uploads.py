"""Bodies of requests: JSON with base64, forms, wrong types and encodings; and annotated images as answers."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from mien.server.errors import HTTPProblem
from mien.server.json_body import read_json
from support.server import BAD, JPEG, create_client, error_code, form, jpeg

ENCODED = base64.b64encode(jpeg()).decode()


@pytest.fixture(scope="module")
def client(tiny_model):
    with create_client(model=(str(tiny_model),), max_images=3) as client:
        yield client


def post_json(client, body):
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post("/v1/analyze", content=text, headers={"Content-Type": "application/json; charset=utf-8"})


@pytest.mark.parametrize(
    "text",
    [
        ENCODED,
        f"data:image/jpeg;base64,{ENCODED}",
        f"DATA:image/jpeg;name=a.jpg;Base64,{ENCODED}",
        base64.encodebytes(jpeg()).decode(),
        base64.urlsafe_b64encode(jpeg()).decode().rstrip("="),
    ],
    ids=["plain", "data URL", "data URL with a name", "lines", "URL-safe"],
)
def test_base64_image_equals_the_file(client, text):
    expected = client.post("/v1/analyze", content=jpeg(), headers=JPEG).json()
    assert post_json(client, {"image": text}).json() == expected
    assert post_json(client, {"images": [text], "pose": None}).json() == expected


def test_several_base64_images_are_answered_in_order(client):
    bad = base64.b64encode(BAD).decode()
    results = post_json(client, {"images": [ENCODED, bad, ENCODED], "max_faces": 1}).json()["results"]
    assert [result["image"] for result in results] == ["image 0", "image 1", "image 2"]
    assert [bool(result["error"]) for result in results] == [False, True, False]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "body_broken"),
        ("{", 400, "body_broken"),
        ("[" * 100_000, 400, "body_broken"),
        (b"\xff\xfe\x00", 400, "body_broken"),
        ("[]", 400, "body_broken"),
        ('"text"', 400, "body_broken"),
        ({}, 422, "no_image"),
        ({"image": None}, 422, "no_image"),
        ({"images": []}, 422, "no_image"),
        ({"image": ""}, 422, "image_unreadable"),
        ({"image": 1}, 422, "field"),
        ({"image": {"data": ENCODED}}, 422, "field"),
        ({"images": ENCODED}, 422, "field"),
        ({"images": {"0": ENCODED}}, 422, "field"),
        ({"images": [None]}, 422, "field"),
        ({"image": ENCODED, "images": [ENCODED]}, 422, "field"),
        (f'{{"image": "{ENCODED}", "image": "{ENCODED}"}}', 422, "parameter_repeated"),
        ({"image": "not base64!"}, 422, "base64"),
        ({"image": "A"}, 422, "base64"),
        ({"image": "data:image/png,abc"}, 422, "base64"),
        ({"image": "https://example.org/a.jpg"}, 422, "base64"),
        ({"image": base64.b64encode(BAD).decode()}, 422, "image_unreadable"),
        ({"images": [ENCODED] * 4}, 413, "too_many_images"),
        ({"img": ENCODED}, 422, "parameter_unknown"),
        ({"image": ENCODED, "pose": {}}, 422, "parameter"),
        ({"image": ENCODED, "imagse": 1}, 422, "parameter_unknown"),
    ],
    ids=range(26),
)
def test_invalid_json_is_refused(client, body, status, code):
    response = post_json(client, body)
    assert error_code(response, status) == code
    assert len(response.json()["detail"]) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 1_000_000 + b"{}]",
        b'{"images": [' + b'"",' * 1_000_000 + b'""]}',
        b"{" + b",".join(b'"a%d":1' % number for number in range(300_000)) + b"}",
        b"{" + b'"pose":1,' * 400_000 + b'"pose":1}',
        b'{"pose": ' + b"[" * 1_000_000,
    ],
    ids=["objects", "images", "keys", "repeated keys", "nested lists"],
)
def test_json_bombs_are_refused_with_little_memory(client, body):
    read_json(b"{}")
    tracemalloc.start()
    try:
        with suppress(HTTPProblem):
            read_json(body)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert 400 <= post_json(client, body).status_code < 500


@pytest.mark.parametrize("length", [30, 150, 400, -8])
def test_form_that_ends_early_is_refused(client, length):
    request = client.build_request("POST", "/v1/analyze", files=form(BAD * 20, BAD * 20))
    body = request.read()
    response = client.post(
        "/v1/analyze", content=body[:length], headers={"Content-Type": request.headers["Content-Type"]}
    )
    assert error_code(response, 400) == "body_cut"
    assert "closing boundary" in response.json()["detail"]


def test_empty_form_has_no_image(client):
    response = client.post("/v1/analyze", content=b"", headers={"Content-Type": "multipart/form-data; boundary=a"})
    assert error_code(response, 422) == "no_image"


def test_compressed_body_is_refused_and_identity_accepted(client):
    for encoding in ("gzip", "deflate", "br", "GZIP", "gzip, identity"):
        headers = {**JPEG, "Content-Encoding": encoding}
        response = client.post("/v1/analyze", content=gzip.compress(jpeg()), headers=headers)
        assert error_code(response, 415) == "body_encoding"
        assert "uncompressed" in response.json()["detail"]
    headers = {**JPEG, "Content-Encoding": "identity"}
    assert client.post("/v1/analyze", content=jpeg(), headers=headers).status_code == 200


def test_repeated_content_type_is_refused(client):
    headers = [("Content-Type", "image/jpeg"), ("Content-Type", "application/json")]
    assert error_code(client.post("/v1/analyze", content=jpeg(), headers=headers), 400) == "header_repeated"


def test_chunked_body_is_read(client):
    chunks = (jpeg()[start : start + 1000] for start in range(0, len(jpeg()), 1000))
    assert client.post("/v1/analyze", content=chunks, headers=JPEG).status_code == 200


@pytest.mark.parametrize("name", ["Grüße 👋.jpg", "写真.jpg", "two words.jpg", "../../etc/passwd", "a" * 300])
def test_file_names_are_returned_unchanged(client, name):
    response = client.post("/v1/analyze", files=[("images", (name, jpeg())), ("images", (name, jpeg()))])
    assert [result["image"] for result in response.json()["results"]] == [name, name]


def test_limits_of_bodies_name_their_option(tiny_model):
    limits = {"max_body_bytes": 50_000, "max_images": 2, "max_pixels": 256 * 256}
    with create_client(model=(str(tiny_model),), **limits) as client:
        refused = {
            "--max-body-bytes": client.post("/v1/analyze", content=bytes(50_001), headers=JPEG),
            "--max-images": client.post("/v1/analyze", files=form(jpeg(), jpeg(), jpeg())),
            "--max-pixels": client.post("/v1/analyze", content=jpeg(side=257), headers=JPEG),
        }
        in_form = client.post("/v1/analyze", files=form(jpeg(side=257))).json()["results"][0]["error"]
    for flag, response in refused.items():
        assert f"mien serve {flag}" in response.json()["detail"]
    assert in_form["code"] == "image_unreadable"
    assert "mien serve --max-pixels" in in_form["message"]


def decoded(data):
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def test_annotated_image_is_the_answer_to_a_client_that_accepts_images(client):
    for accept, kind in (
        ("image/png", "PNG"),
        ("image/jpeg", "JPEG"),
        ("image/webp;q=0.9, */*;q=0.1", "WEBP"),
        ("image/*", "PNG"),
    ):
        response = client.post("/v1/analyze", content=jpeg(), headers={**JPEG, "Accept": accept})
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == f"image/{kind.lower()}"
        assert Image.open(io.BytesIO(response.content)).format == kind
    plain = client.post("/v1/analyze?min_confidence=0.999", content=jpeg(), headers={**JPEG, "Accept": "image/png"})
    drawn = client.post("/v1/analyze", content=jpeg(), headers={**JPEG, "Accept": "image/png"})
    assert decoded(plain.content).shape == decoded(drawn.content).shape
    assert (decoded(plain.content) != decoded(drawn.content)).any()
    for accept in ("*/*", "application/json, image/png", "text/html", ""):
        response = client.post("/v1/analyze", content=jpeg(), headers={**JPEG, "Accept": accept})
        assert response.headers["Content-Type"] == "application/json"


def test_annotated_copies_are_data_urls_in_json(client):
    response = client.post("/v1/analyze?annotated=true", files=form(jpeg(), BAD))
    good, bad = response.json()["results"]
    assert bad["annotated"] is None
    kind, _, data = good["annotated"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).format == "JPEG"
    assert "annotated" not in client.post("/v1/analyze", content=jpeg(), headers=JPEG).json()["results"][0]
    service = client.app.state.service
    assert (service.admission.images, service.admission.bytes) == (0, 0)


def test_image_answer_for_several_or_broken_images_is_an_error(client):
    accept = {"Accept": "image/png"}
    assert error_code(client.post("/v1/analyze", files=form(jpeg(), jpeg()), headers=accept), 406) == "accept"
    broken = client.post("/v1/analyze", files=form(BAD), headers=accept)
    assert error_code(broken, 422) == "image_unreadable"


def test_annotated_image_is_reduced_with_its_faces(client):
    large = jpeg("astronaut", 512)
    file = io.BytesIO()
    Image.open(io.BytesIO(large)).resize((4096, 4096)).save(file, "JPEG")
    drawn = [
        client.post("/v1/analyze", content=data, headers={**JPEG, "Accept": "image/png"})
        for data in (file.getvalue(), large)
    ]
    reduced, original = (decoded(response.content) for response in drawn)
    assert reduced.shape == (2560, 2560, 3)
    # the boxes are at the same place
    side = original.shape[0]
    shrunk = np.array(Image.fromarray(reduced).resize((side, side)))
    assert np.abs(shrunk.astype(int) - original).mean() < 5


@pytest.mark.parametrize("size_wh", [(20_000, 8), (8, 20_000), (1, 1)])
def test_image_of_any_shape_is_annotated_in_every_format(client, size_wh):
    file = io.BytesIO()
    Image.new("RGB", size_wh).save(file, "PNG")
    for accept in ("image/png", "image/jpeg", "image/webp"):
        headers = {"Content-Type": "image/png", "Accept": accept}
        response = client.post("/v1/analyze", content=file.getvalue(), headers=headers)
        assert (response.status_code, response.headers["Content-Type"]) == (200, accept)


def test_annotated_copies_count_as_waiting_bytes(tiny_model):
    limits = {"max_body_bytes": len(jpeg()) + 1, "max_waiting_bytes": len(jpeg()) + 100}
    with create_client(model=(str(tiny_model),), **limits) as client:
        response = client.post("/v1/analyze?annotated=true", content=jpeg(), headers=JPEG)
        assert error_code(response, 429) == "busy"
        assert "--max-waiting-bytes" in response.json()["detail"]
        assert client.app.state.service.admission.bytes == 0
