"""JSON bodies with base64 images."""

from __future__ import annotations

import base64
import re
import threading
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from mien.server.errors import HTTPProblem
from mien.server.parameters import AnalyzeParameters, unknown_name

_EXAMPLE = '{"image": "<base64>"} or {"images": ["<base64>", "<base64>"]}'
_DATA_URL = re.compile(r"data:[^,]{0,256};base64,", re.IGNORECASE)
_ADDRESS = ("http:", "https:", "file:", "ftp:")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n"
_FIELDS = {
    "image": str | None | UnsetType,
    "images": list[str] | None | UnsetType,
    **dict.fromkeys(AnalyzeParameters.__struct_fields__, str | int | float | bool | None | UnsetType),
}
# decoding ends at the first unknown key or nested object, before it takes memory
_Body = msgspec.defstruct("_Body", [(name, kind, UNSET) for name, kind in _FIELDS.items()], forbid_unknown_fields=True)
_KEY = re.compile(rb'"(%s)"\s*:' % b"|".join(name.encode("ascii") for name in _FIELDS))
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_decoding = threading.Lock()
"""Held while a body is decoded, which takes several times its memory."""


class JsonBody(NamedTuple):
    """A JSON object: base64 texts of the images, its other items, and whether it has `image` rather than `images`."""

    texts: list[str]
    items: list[tuple[str, object]]
    is_single: bool


def read_json(body: bytes) -> JsonBody:
    """Decode a JSON body; an item that is null counts as absent.

    Raises:
        HTTPProblem: 400 when the body is not a JSON object, 422 when an item is unknown, repeated or of another type.
    """
    with _decoding:
        values = _decode_body(body)
    image, images = values.pop("image", None), values.pop("images", None)
    if image is not None and images is not None:
        raise HTTPProblem(422, "field", f"'image' and 'images' are given; expected {_EXAMPLE}.")
    texts = (images or []) if image is None else [image]
    return JsonBody(texts, list(values.items()), is_single=image is not None)


def decode_base64(text: str, index: int) -> bytes:
    """Decode base64 or a data URL; line breaks and the URL-safe alphabet are accepted.

    Raises:
        HTTPProblem: 422 when the text is something else; `index` names the image.
    """
    if text[:8].lower().startswith(_ADDRESS):
        raise HTTPProblem(422, "base64", f"image {index} is an address, which is not fetched; send its data as base64.")
    match = _DATA_URL.match(text)
    try:
        data = text[match.end() if match else 0 :].encode("ascii").translate(_URL_SAFE, _SPACE)
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except ValueError:
        raise HTTPProblem(422, "base64", f"image {index} is not base64 or a data URL with base64.") from None


def _decode_body(body: bytes) -> dict[str, Any]:
    """Return the items of a JSON object that are not null."""
    try:
        record = msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        raise _to_problem(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HTTPProblem(400, "body_broken", f"the body is not JSON; expected {_EXAMPLE}.") from None
    names: set[bytes] = set()
    for match in _KEY.finditer(body):
        if match[1] in names:
            message = f"{match[1].decode('ascii')} is given twice; give it once."
            raise HTTPProblem(422, "parameter_repeated", message)
        names.add(match[1])
    return {name: value for name, value in msgspec.structs.asdict(record).items() if value not in (None, UNSET)}


def _to_problem(message: str) -> HTTPProblem:
    """Convert msgspec's message for a value of another type, or for an unknown key."""
    if match := _UNKNOWN.match(message):
        return HTTPProblem(422, "parameter_unknown", unknown_name(match[1], tuple(_FIELDS)))
    problem, _, path = message.partition(" - at `$")
    if path in ("", "`"):
        return HTTPProblem(400, "body_broken", f"the body is not a JSON object; expected {_EXAMPLE}.")
    name = path.rstrip("`").removeprefix(".")
    received = problem.partition("got ")[2].strip("`") or "another value"
    if name.startswith("image"):
        return HTTPProblem(422, "field", f"{name} is of the JSON type {received}; expected {_EXAMPLE}.")
    return HTTPProblem(422, "parameter", f"{name} is of the JSON type {received}; expected a single value.")
