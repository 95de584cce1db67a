"""Request parameters, with one definition for queries, form fields, JSON bodies and WebSocket connections."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mien.records import convert
from mien.server.errors import HTTPProblem


class StreamParameters(Struct, frozen=True, kw_only=True):
    """Options of an analysis; an absent one has the default of `mien predict`."""

    model: Annotated[str, Meta(description="name of a model in /v1/models; default: its `default`")] | UnsetType = UNSET
    max_faces: (
        Annotated[
            int, Meta(ge=1, description="number of faces to analyze, the largest first; at most the server's limit")
        ]
        | UnsetType
    ) = UNSET
    min_confidence: (
        Annotated[float, Meta(gt=0, lt=1, description="minimum confidence of the face detector; default 0.6")]
        | UnsetType
    ) = UNSET
    max_error: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="give fewer labels, so that at most this share of them is wrong on validation faces; "
                "default: the model's own threshold",
            ),
        ]
        | UnsetType
    ) = UNSET
    detector_size: (
        Annotated[
            int,
            Meta(
                ge=64,
                le=8192,
                description="long side in pixels at which faces are detected, default 640; larger finds smaller faces, "
                "more slowly; at most the server's limit",
            ),
        ]
        | UnsetType
    ) = UNSET
    flip_tta: (
        Annotated[
            bool, Meta(description="average the predictions for a face and its mirror image: more accurate, slower")
        ]
        | UnsetType
    ) = UNSET
    pose: (
        Annotated[
            bool,
            Meta(
                description="false skips the head pose: faster, but rotated faces are not straightened and their "
                "predictions may be wrong"
            ),
        ]
        | UnsetType
    ) = UNSET

    action_units: (
        Annotated[bool, Meta(description="add action units, blendshapes and gaze; needs the head pose")] | UnsetType
    ) = UNSET

    def options(self) -> dict[str, Any]:
        """Return the given options of `mien.Analyzer`, without the model."""
        values = {name: getattr(self, name) for name in StreamParameters.__struct_fields__ if name != "model"}
        return {name: value for name, value in values.items() if value is not UNSET}


class AnalyzeParameters(StreamParameters, frozen=True, kw_only=True):
    """Parameters of `/v1/analyze`."""

    annotated: Annotated[bool, Meta(description="add an annotated copy of each image to its result, as a data URL")] = (
        False
    )


class NoParameters(Struct, frozen=True):
    """Parameters of endpoints without any."""


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}
Parameters = TypeVar("Parameters", StreamParameters, AnalyzeParameters, NoParameters)


def parse(pairs: Iterable[tuple[str, object]], kind: type[Parameters], also: Sequence[str] = ()) -> Parameters:
    """Convert names and values, text or JSON, to parameters.

    Args:
        pairs: names and values; a name may occur once.
        kind: type of the result.
        also: other names that a client may have meant by an unknown one.

    Raises:
        HTTPProblem: 422, when a name is unknown or repeated or a value is invalid.
    """
    values: dict[str, object] = {}
    for name, value in pairs:
        if name not in kind.__struct_fields__:
            raise HTTPProblem(422, "parameter_unknown", unknown_name(name, (*kind.__struct_fields__, *also)))
        if name in values:
            raise HTTPProblem(422, "parameter_repeated", f"the parameter {name} is given twice; give it once.")
        values[name] = value
    try:
        return convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        kind_name, _, bound = problem.partition(", got")[0].removeprefix("Expected `").partition("`")
        expected = _KINDS.get(kind_name, "a smaller number")
        message = f"{name} is {_quote(values.get(name))}; expected {expected}{bound}."
        raise HTTPProblem(422, "parameter", message) from None


def unknown_name(name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown parameter, with the nearest known one or all of them."""
    nearest = difflib.get_close_matches(name[:64].lower().replace("-", "_"), known, n=1)
    if nearest:
        return f"unknown parameter {_quote(name)}. Did you mean {nearest[0]}?"
    hint = f"Known: {', '.join(known)}." if known else "There are none here."
    return f"unknown parameter {_quote(name)}. {hint}"


def describe(kind: type[Struct]) -> list[dict[str, Any]]:
    """Return the OpenAPI description of the parameters as a query."""
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description", ""), "schema": schema}
        for name, schema in properties(kind).items()
    ]


def properties(kind: type[Struct]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of the parameters by name."""
    _, components = msgspec.json.schema_components((kind,))
    return components[kind.__name__]["properties"]


def _quote(value: object) -> str:
    """Return a client's value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
