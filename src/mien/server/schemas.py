"""The answers' shapes, for OpenAPI; what is sent comes from `to_dict` of the records they describe."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_FACE = {
    "bbox_xyxy": [176.3, 80.9, 264.6, 200.4],
    "confidence": 0.93,
    "landmarks_xy": [[198.1, 121.5], [239.9, 121.9], [218.3, 146.2], [202.5, 168.0], [235.0, 168.6]],
    "head_pose_deg": {"yaw": -3.1, "pitch": 4.0, "roll": 0.4},
    "quality": {"size_px": 88.3, "sharpness": 0.81, "frontality": 0.996, "visible": 1.0},
    "expression": {
        "label": "happiness",
        "confidence": 0.98,
        "probabilities": {"neutral": 0.02, "happiness": 0.98},
    },
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HeadPose(_Record):
    """In degrees; 0 looks into the camera."""

    yaw: float = Field(description="> 0 when the subject turns to their own left")
    pitch: float = Field(description="> 0 up")
    roll: float = Field(description="> 0 when the head tilts to the subject's own left shoulder")


class Quality(_Record):
    """How well a face can be read."""

    size_px: float = Field(description="shorter side of the box, in pixels")
    sharpness: float = Field(description="0 (a blur) .. 1 (crisp)")
    frontality: float | None = Field(description="1 looks into the camera .. 0 profile; null without a pose")
    visible: float = Field(description="share of the box inside the image, 0..1")


class Expression(_Record):
    """The perceived expression of a face: what people would see in it, not what the person feels."""

    label: str | None = Field(description="null when the model cannot tell")
    confidence: float = Field(ge=0, le=1)
    probabilities: dict[str, float] = Field(description="by label, calibrated; they sum to 1")


class Face(_Record):
    """One face; coordinates are pixels of the upright image."""

    bbox_xyxy: list[float] = Field(min_length=4, max_length=4, description="left, top, right, bottom")
    confidence: float = Field(ge=0, le=1, description="the detector's")
    landmarks_xy: list[list[float]] = Field(
        min_length=5,
        max_length=5,
        description="the subject's right eye, left eye, nose, right and left mouth corner",
    )
    head_pose_deg: HeadPose | None
    quality: Quality | None
    expression: Expression | None


class ErrorDetail(_Record):
    """What was wrong."""

    code: str = Field(description="stable, for programs")
    message: str = Field(description="for people")


class ImageResult(_Record):
    """What one image gave."""

    image: str = Field(description="its file name in the form, or `image 0`, counted from 0")
    width: int = Field(ge=0, description="in pixels, upright; 0 when it could not be read")
    height: int = Field(ge=0)
    faces: list[Face] = Field(description="largest first; empty when there is none")
    error: ErrorDetail | None


class AnalyzeResponse(_Record):
    """The faces of every image, in the order of the request."""

    model: str
    results: list[ImageResult]

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "model": "expression",
                "results": [
                    {"image": "photo.jpg", "width": 512, "height": 512, "faces": [_FACE], "error": None}
                ],
            }
        },
    )


class ErrorResponse(_Record):
    """Every answer that is no result."""

    error: ErrorDetail

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "error": {
                    "code": "image_unreadable",
                    "message": "the image is not an image that mien can read.",
                }
            }
        },
    )


class ModelDescription(_Record):
    """What a model promises; see docs/manifest.md."""

    name: str
    version: str
    labels: list[str]
    input: dict[str, Any]
    alignment: dict[str, Any] | None
    temperature: float
    quality_temperature: dict[str, float] | None
    abstain_below: float
    license: str
    trained_on: list[dict[str, str]]
    metrics: dict[str, Any]


class ModelsResponse(_Record):
    """The models that `?model=` may name."""

    default: str
    models: list[ModelDescription]


class Health(_Record):
    """How the server is."""

    status: str = Field(examples=["ok", "ready"])


_IMAGE = {"type": "string", "format": "binary", "description": "a JPEG, PNG, WebP, TIFF, ... file"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {"images": {"type": "array", "minItems": 1, "items": _IMAGE}},
                }
            },
            **{
                kind: {"schema": _IMAGE}
                for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
            },
        },
    }
}
"""The request body of `/v1/analyze`, which FastAPI cannot tell from its signature."""

ERRORS: dict[int, str] = {
    400: "The body is broken.",
    401: "A token is needed.",
    403: "Web pages of this origin may not call.",
    404: "No model of this name.",
    408: "The body came too slowly.",
    413: "The body is too large, or has too many images.",
    415: "The body is of another kind.",
    422: "A parameter is wrong, or the image cannot be read.",
    429: "Too much waits already; try again after Retry-After seconds.",
    503: "The server is ending or too slow; try again after Retry-After seconds.",
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of answers that are errors."""
    return {status: {"model": ErrorResponse, "description": ERRORS[status]} for status in statuses}
