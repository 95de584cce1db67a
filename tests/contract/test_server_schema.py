"""Responses conform to the OpenAPI description for generated requests."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from mien.server.app import create_app
from mien.server.openapi import describe_api
from mien.server.schemas import EXAMPLES, AnalyzeResponse, ErrorResponse, ModelsResponse
from mien.server.settings import ServerSettings
from support.server import BAD, JPEG, create_client, form, jpeg

MAX_CASES = 20
PATHS = {"/v1/analyze": "post", "/v1/models": "get", "/healthz": "get", "/readyz": "get", "/metrics": "get"}


@pytest.fixture(scope="module")
def client(tiny_model):
    with create_client(model=(str(tiny_model),)) as client:
        yield client


@pytest.fixture(scope="module")
def api(tiny_model):
    app = create_app(ServerSettings(model=(str(tiny_model),)))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_responses_conform_to_the_openapi_description(api):
    for result in api.get_all_operations():
        case_of = result.ok().as_strategy()

        @settings(max_examples=MAX_CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=case_of)
        def call(case):
            # a schema cannot state which bytes are an image
            case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])

        call()


def test_openapi_describes_every_path(client):
    description = client.get("/openapi.json").json()
    assert {path: next(iter(methods)) for path, methods in description["paths"].items()} == PATHS
    operation = description["paths"]["/v1/analyze"]["post"]
    assert set(operation["requestBody"]["content"]) >= {"multipart/form-data", "image/jpeg"}
    assert {"200", "413", "415", "422", "429", "503"} <= set(operation["responses"])


def check_record(body, record):
    """Check that JSON data has all fields of a record and no others."""
    assert msgspec.to_builtins(msgspec.convert(body, record)) == body


def test_examples_and_responses_match_the_schema(client):
    for record, example in EXAMPLES.items():
        check_record(example, record)
    analyzed = client.post("/v1/analyze", files=form(jpeg(), jpeg("group", 640), BAD))
    check_record(analyzed.json(), AnalyzeResponse)
    check_record(client.get("/v1/models").json(), ModelsResponse)
    check_record(client.post("/v1/analyze", content=BAD, headers=JPEG).json(), ErrorResponse)


def test_api_documentation_loads_nothing_from_other_hosts(client):
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert "http" not in json.dumps(describe_api()).replace("HTTP", "")


def test_documentation_lists_every_setting_and_metric(client, root):
    text = (root / "docs/server.md").read_text(encoding="utf-8")
    for item in fields(ServerSettings):
        flag = f"--{item.name.replace('_', '-')}"
        assert f"`{flag}`" in text, flag
        if isinstance(item.default, int | float):
            rows = [line for line in text.splitlines() if f"`{flag}`" in line]
            assert any(str(item.default) in row for row in rows), flag
    names = set(re.findall(r"^# HELP (mien_\w+)", client.get("/metrics").text, re.MULTILINE))
    assert not [name for name in names if not name.endswith("_created") and name not in text]
