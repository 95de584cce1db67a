"""Parameters of requests: unknown, repeated and invalid ones, in every place where they may be given."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.emotions import EXPRESSIONS
from mien.errors import ModelError
from mien.inference.analyzer import Analyzer
from mien.server.errors import HTTPProblem
from mien.server.parameters import AnalyzeParameters, NoParameters, parse
from support.models import make_model
from support.server import JPEG, create_client, error_code, form, jpeg

ENDPOINTS = ["/v1/models", "/healthz", "/readyz", "/metrics", "/openapi.json"]


@pytest.fixture(scope="module")
def client(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        yield client


def post_query(client, name, value):
    return client.post("/v1/analyze", params={name: value}, content=jpeg(), headers=JPEG)


def post_form(client, name, value):
    return client.post("/v1/analyze", files=form(jpeg()), data={name: value})


def post_json(client, name, value):
    return client.post("/v1/analyze", json={"image": base64.b64encode(jpeg()).decode(), name: value})


PLACES = pytest.mark.parametrize("post", [post_query, post_form, post_json])


def faces(response):
    assert response.status_code == 200, response.text
    return response.json()["results"][0]["faces"]


@PLACES
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_eror", "max_error"),
        ("max-faces", "max_faces"),
        ("Pose", "pose"),
        ("threads", "model, max_faces"),
        ("", "Known"),
    ],
)
def test_unknown_parameter_is_refused_with_the_nearest_known_one(client, post, name, hint):
    response = post(client, name, "1")
    assert error_code(response, 422) == "parameter_unknown"
    assert hint in response.json()["detail"]


@PLACES
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("max_faces", value) for value in ("0", "-1", "nan", "1.5", "9e99", "9" * 5000, "", "many", "101")],
        *[("min_confidence", value) for value in ("0", "1", "-1", "nan", "inf", "1e999", "0,5", "")],
        *[("max_error", value) for value in ("-0.1", "1.1", "nan", "-inf", "five percent")],
        *[("detector_size", value) for value in ("63", "0", "-640", "1921", "8193", "9" * 30, "nan")],
        *[(name, value) for name in ("pose", "flip_tta", "annotated") for value in ("", "2", "maybe")],
    ],
)
def test_value_out_of_range_is_refused(client, post, name, value):
    response = post(client, name, value)
    assert error_code(response, 422) == "parameter"
    assert response.json()["detail"].startswith(name)
    assert len(response.json()["detail"]) < 200


@pytest.mark.parametrize("value", [[], {}, [1], "text" * 1000, True, 1e300, -1, 10**400])
def test_json_value_of_another_type_is_refused(client, value):
    body = json.dumps({"image": base64.b64encode(jpeg()).decode(), "max_faces": value})
    response = client.post("/v1/analyze", content=body, headers={"Content-Type": "application/json"})
    assert error_code(response, 422) == "parameter"


@PLACES
def test_unknown_model_is_refused_with_the_known_ones(client, post):
    response = post(client, "model", "nope")
    assert error_code(response, 404) == "model_unknown"
    assert "tiny" in response.json()["detail"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_endpoints_without_parameters_refuse_all(client, path):
    assert client.get(path).status_code == 200
    response = client.get(f"{path}?verbose=1")
    assert error_code(response, 422) == "parameter_unknown"
    assert "'verbose'" in response.json()["detail"]


def test_repeated_parameter_is_refused_within_and_across_places(client):
    image = base64.b64encode(jpeg()).decode()
    repeated = [
        client.post("/v1/analyze?pose=true&pose=false", content=jpeg(), headers=JPEG),
        client.post("/v1/analyze?pose=true", files=form(jpeg()), data={"pose": "true"}),
        client.post("/v1/analyze", files=form(jpeg()), data={"pose": ["true", "false"]}),
        client.post("/v1/analyze?pose=true", json={"image": image, "pose": True}),
        client.post(
            "/v1/analyze",
            content=f'{{"image": "{image}", "pose": true, "pose": true}}',
            headers={"Content-Type": "application/json"},
        ),
    ]
    for response in repeated:
        assert error_code(response, 422) == "parameter_repeated"
        assert "pose" in response.json()["detail"]


@PLACES
def test_options_have_the_effect_that_they_have_in_python(client, tiny_model, post):
    analyzer = Analyzer(tiny_model, threads=1)
    [plain] = faces(post(client, "pose", "true"))
    assert plain["head_pose_deg"] is not None
    assert faces(post(client, "pose", "false"))[0]["head_pose_deg"] is None
    assert faces(post(client, "min_confidence", "0.999")) == []
    assert "action_units" not in plain
    assert faces(post(client, "action_units", "true"))[0]["action_units"]
    [mirrored] = faces(post(client, "flip_tta", "true"))
    [expected] = analyzer.analyze(jpeg(), flip_tta=True)
    assert mirrored["expression"]["probabilities"] == pytest.approx(
        expected.to_dict()["expression"]["probabilities"], abs=1e-4
    )
    assert mirrored["expression"] != plain["expression"]
    [coarse] = faces(post(client, "detector_size", "128"))
    [expected] = analyzer.analyze(jpeg(), detector_size=128)
    assert coarse["bbox_xyxy"] == expected.to_dict()["bbox_xyxy"] != plain["bbox_xyxy"]


def test_max_error_withholds_labels_and_needs_error_rates(client):
    response = client.post("/v1/analyze?max_error=0.05", content=jpeg(), headers=JPEG)
    assert error_code(response, 422) == "parameter"
    assert "no error rates" in response.json()["detail"]
    with create_client(model=("compact",)) as client:
        loose, strict = (
            faces(client.post(f"/v1/analyze?max_error={value}", content=jpeg("group", 640), headers=JPEG))
            for value in (1, 0.02)
        )
        unreachable = client.post("/v1/analyze?max_error=0", content=jpeg(), headers=JPEG)
    withheld = [face["expression"]["label"] is None for face in strict]
    assert sum(withheld) > sum(face["expression"]["label"] is None for face in loose)
    assert error_code(unreachable, 422) == "input"
    assert "at best" in unreachable.json()["detail"]


def test_the_prior_of_the_server_corrects_every_answer(tmp_path):
    model = make_model(tmp_path / "tiny.onnx", class_prior=dict.fromkeys(EXPRESSIONS, 1 / 8))
    prior = tmp_path / "prior.json"
    prior.write_text(json.dumps({**dict.fromkeys(EXPRESSIONS, 0), "fear": 1}))
    with create_client(model=(str(model),), prior=str(prior)) as client:
        [face] = faces(client.post("/v1/analyze", content=jpeg(), headers=JPEG))
        refused = client.post("/v1/analyze?max_error=0.05", content=jpeg(), headers=JPEG)
    assert face["expression"]["probabilities"]["fear"] == pytest.approx(1)
    assert error_code(refused, 422) == "parameter"


def test_a_prior_needs_class_frequencies_of_every_model(tiny_model):
    with pytest.raises(ModelError, match="no class_prior"), create_client(model=(str(tiny_model),), prior="uniform"):
        pass


def test_limits_name_the_option_that_raises_them(tiny_model):
    with create_client(model=(str(tiny_model),), max_faces=3, max_detector_size=700) as client:
        for name, value, flag in (("max_faces", 4, "--max-faces"), ("detector_size", 701, "--max-detector-size")):
            response = post_query(client, name, value)
            assert error_code(response, 422) == "parameter"
            assert flag in response.json()["detail"]
        assert post_query(client, "detector_size", 700).status_code == 200


def test_faces_left_out_by_the_limit_are_noted(tiny_model):
    with create_client(model=(str(tiny_model),), max_faces=3) as client:
        group = {"content": jpeg("group", 640), "headers": JPEG}
        cut = client.post("/v1/analyze", **group).json()["results"][0]
        requested = client.post("/v1/analyze?max_faces=3", **group).json()["results"][0]
        one = client.post("/v1/analyze", content=jpeg(), headers=JPEG).json()["results"][0]
    assert len(cut["faces"]) == len(requested["faces"]) == 3
    assert cut["note"] == "only the 3 largest faces were analyzed (mien serve --max-faces)."
    assert "note" not in requested
    assert "note" not in one


def test_concurrent_requests_keep_their_own_options(tiny_model):
    queries = ["pose=false", "pose=true", "min_confidence=0.999", "max_faces=1", "detector_size=128", "flip_tta=true"]
    with create_client(model=(str(tiny_model),), workers=2) as client:

        def post(query):
            return faces(client.post(f"/v1/analyze?{query}", content=jpeg(), headers=JPEG))

        alone = [post(query) for query in queries]
        with ThreadPoolExecutor(len(queries)) as pool:
            together = list(pool.map(post, queries))
    assert together == alone


def test_model_parameter_selects_the_model_in_every_place(tiny_model, tmp_path):
    other = make_model(tmp_path / "other.onnx", temperature=9.0)
    with create_client(model=(str(tiny_model), str(other))) as client:
        for post in (post_query, post_form, post_json):
            assert post(client, "model", "other").json()["model"] == "other"


def test_absent_parameters_are_no_options():
    assert parse([], AnalyzeParameters).options() == {}
    assert parse([], NoParameters) == NoParameters()
    given = parse([("max_error", "0.05"), ("annotated", "1")], AnalyzeParameters)
    assert given.options() == {"max_error": 0.05}
    assert given.annotated
    with pytest.raises(HTTPProblem, match=r"Did you mean images\?"):
        parse([("imgaes", "")], AnalyzeParameters, also=("image", "images"))
