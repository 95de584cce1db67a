"""OpenAPI schemas of requests and responses; the records of results are those of `mien.schema`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mien.manifest import AlignmentSpec, QualityTemperature, TrainingSource
from mien.schema import ErrorRecord, ResultRecord
from mien.server.annotated import FORMATS
from mien.server.errors import MEDIA_TYPE
from mien.server.parameters import AnalyzeParameters, properties


class ImageResult(ResultRecord, frozen=True, kw_only=True):
    """The faces of one image, with an annotated copy when `annotated` is true."""

    note: Annotated[str | UnsetType, Meta(description="present when faces were left out")] = UNSET

    annotated: Annotated[
        str | UnsetType | None, Meta(description="data URL of a JPEG; null when the image could not be read")
    ] = UNSET


class AnalyzeResponse(Struct, frozen=True, kw_only=True):
    """The results of all images, in the order of the request."""

    model: Annotated[str, Meta(description="name of the model")]
    results: list[ImageResult]


class ErrorResponse(Struct, frozen=True, kw_only=True):
    """The body of every error response: problem details (RFC 9457)."""

    title: Annotated[str, Meta(description="name of the status")]
    status: Annotated[int, Meta(description="HTTP status")]
    detail: Annotated[str, Meta(description="explanation for people")]
    code: Annotated[str, Meta(description="stable identifier for programs")]
    error: Annotated[ErrorRecord, Meta(description="`code` and `detail` as in the result of an image")]


class ModelInput(Struct, frozen=True, kw_only=True):
    """The input image of a model."""

    size: Annotated[int, Meta(description="height and width in pixels")]
    channels: Annotated[str, Meta(description="RGB or BGR")]


class ModelDescription(Struct, frozen=True, kw_only=True):
    """An excerpt of a model's manifest; see docs/manifest.md."""

    name: str
    version: str
    labels: list[str]
    input: ModelInput
    alignment: AlignmentSpec | None
    temperature: float
    quality_temperature: QualityTemperature | None
    abstain_below: float
    license: str
    trained_on: list[TrainingSource]
    metrics: dict[str, Any]


class ModelsResponse(Struct, frozen=True, kw_only=True):
    """The models that the parameter `model` accepts."""

    default: Annotated[str, Meta(description="name of the default model")]
    models: list[ModelDescription]


class Health(Struct, frozen=True, kw_only=True):
    """The state of the server."""

    status: Annotated[str, Meta(examples=["ok", "ready"])]


_FACE = {
    "bbox_xyxy": [176.3, 80.9, 264.6, 200.4],
    "confidence": 0.93,
    "is_face_doubtful": False,
    "landmarks_xy": [[198.1, 121.5], [239.9, 121.9], [218.3, 146.2], [202.5, 168.0], [235.0, 168.6]],
    "head_pose_deg": {"yaw": -3.1, "pitch": 4.0, "roll": 0.4},
    "quality": {"size_px": 88.3, "sharpness": 0.81, "frontality": 0.996, "visible": 1.0},
    "expression": {
        "label": "happiness",
        "confidence": 0.98,
        "probabilities": {"neutral": 0.02, "happiness": 0.98},
        "valence": 0.7938,
        "arousal": 0.4998,
    },
}
_RESULT = {"image": "photo.jpg", "width": 512, "height": 512, "faces": [_FACE], "warnings": [], "error": None}
EXAMPLES: dict[type[Struct], dict[str, Any]] = {
    AnalyzeResponse: {"model": "expression", "results": [_RESULT]},
    ErrorResponse: {
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "the image is empty (0 bytes).",
        "code": "image_unreadable",
        "error": {"code": "image_unreadable", "message": "the image is empty (0 bytes)."},
    },
}

_IMAGE = {"type": "string", "format": "binary", "description": "a JPEG, PNG, WebP, TIFF, ... file"}
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
_CONTENT = {
    "multipart/form-data": {"schema": _FORM},
    "application/json": {"schema": _JSON},
    **{name: {"schema": _IMAGE} for name in _IMAGE_TYPES},
}
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _CONTENT}}
"""Request body of `/v1/analyze`; FastAPI cannot derive it from the signature."""

ERRORS: dict[int, str] = {
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


def json_response(
    record: type[Struct], description: str = "OK", media_type: str = "application/json"
) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON response."""
    media: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{record.__name__}"}}
    if record in EXAMPLES:
        media["example"] = EXAMPLES[record]
    return {"description": description, "content": {media_type: media}}


_ANNOTATED = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in FORMATS}
ANALYZED = json_response(AnalyzeResponse)
"""Success response of `/v1/analyze`: JSON, or an image if the client accepts only that."""
ANALYZED["content"].update(_ANNOTATED)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of error responses."""
    return {status: json_response(ErrorResponse, ERRORS[status], MEDIA_TYPE) for status in statuses}


def components() -> dict[str, Any]:
    """Return the JSON Schemas of all records, by name."""
    records = (AnalyzeResponse, ErrorResponse, ModelsResponse, Health)
    return msgspec.json.schema_components(records, ref_template="#/components/schemas/{name}")[1]
