"""OpenAPI description of the HTTP API."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from mien._version import __version__
from mien.server.annotated import FORMATS
from mien.server.errors import MEDIA_TYPE
from mien.server.parameters import AnalyzeParameters, describe, properties
from mien.server.schemas import EXAMPLES, AnalyzeResponse, ErrorResponse, Health, ModelsResponse

_INFO = {
    "title": "mien",
    "version": __version__,
    "summary": "Perceived facial expression over HTTP.",
    "description": "Predict the perceived expression of every face in images: what people would see in a face, not "
    "what the person feels. Do not use it to judge people at work or in education (EU AI Act). Images are not stored "
    "or logged.",
}
_ANALYZE = """Send a form with files named `images`, JSON with base64, or one image as the body.

Parameters are given in the query, as fields of the form or as items of the JSON object. With `Accept: image/png`
(image/jpeg, image/webp) the answer for one image is its annotated copy. An unreadable image of several has an `error`
in its result; a single one is answered 422."""

_ERRORS: dict[int, str] = {
    400: "The body is malformed.",
    401: "The token is missing or wrong.",
    403: "Web pages of this origin are not allowed.",
    404: "No model has this name.",
    406: "An annotated image is available for one image only.",
    408: "The body was not received in time.",
    413: "The body is too large or has too many images.",
    415: "The content type is not supported.",
    422: "A parameter is unknown, repeated or invalid, or the image is unreadable.",
    429: "Too many images are waiting; try again after Retry-After seconds.",
    503: "The server is overloaded or shutting down; try again after Retry-After seconds.",
}

_BINARY = {"type": "string", "format": "binary"}
_IMAGE = {**_BINARY, "description": "a JPEG, PNG, WebP, TIFF, ... file"}
_BASE64 = {"type": "string", "description": "base64 of an image file, or a data URL with it"}
_FORM = {
    "type": "object",
    "required": ["images"],
    "additionalProperties": False,
    "properties": {"images": {"type": "array", "minItems": 1, "items": _IMAGE}, **properties(AnalyzeParameters)},
}
_JSON = {
    "type": "object",
    "oneOf": [{"required": ["image"]}, {"required": ["images"]}],
    "additionalProperties": False,
    "properties": {
        "image": _BASE64,
        "images": {"type": "array", "minItems": 1, "items": _BASE64},
        **properties(AnalyzeParameters),
    },
}
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


@cache
def describe_api() -> dict[str, Any]:
    """Return the OpenAPI document."""
    images = {media_type: {"schema": _BINARY} for media_type in FORMATS}
    analyze = {
        "description": _ANALYZE,
        "parameters": describe(AnalyzeParameters),
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": _FORM},
                "application/json": {"schema": _JSON},
                **{name: {"schema": _IMAGE} for name in _IMAGE_TYPES},
            },
        },
    }
    records = (AnalyzeResponse, ErrorResponse, ModelsResponse, Health)
    _, schemas = msgspec.json.schema_components(records, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "paths": {
            "/v1/analyze": {
                "post": _operation(
                    "analyze",
                    "Analyze the faces of one or several images.",
                    {**_content(AnalyzeResponse), **images},
                    (400, 401, 403, 404, 406, 408, 413, 415, 422, 429, 503),
                )
                | analyze
            },
            "/v1/models": {
                "get": _operation(
                    "models",
                    "List the models with their accuracy, training data and license.",
                    _content(ModelsResponse),
                    (401, 403, 422, 503),
                )
            },
            "/healthz": {"get": _operation("healthz", "Check that the process is alive.", _content(Health), (422,))},
            "/readyz": {
                "get": _operation("readyz", "Check that the server accepts images.", _content(Health), (422, 503))
            },
            "/metrics": {
                "get": _operation("metrics", "Export Prometheus metrics.", {"text/plain": {}}, (401, 403, 422))
            },
        },
        "components": {"schemas": schemas},
    }


def _operation(name: str, summary: str, content: dict[str, Any], errors: tuple[int, ...]) -> dict[str, Any]:
    """Return the description of an operation, from the content of its success response and the statuses of errors."""
    problem = _content(ErrorResponse, MEDIA_TYPE)
    responses = {"200": {"description": "OK", "content": content}}
    responses |= {str(status): {"description": _ERRORS[status], "content": problem} for status in errors}
    return {"operationId": name, "summary": summary, "responses": responses}


def _content(record: type[Struct], media_type: str = "application/json") -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{record.__name__}"}}
    if record in EXAMPLES:
        media["example"] = EXAMPLES[record]
    return {media_type: media}
