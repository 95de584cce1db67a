"""Records of responses, with an example of some; those of results are in `mien.schema`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from mien.manifest import AlignmentSpec, QualityTemperature, TrainingSource
from mien.schema import ErrorRecord, ResultRecord


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
