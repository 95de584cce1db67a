"""JSON bodies with base64 images."""

from __future__ import annotations

import base64
import binascii
import json
import re

from mien.server.errors import HTTPProblem

_DATA_URL = re.compile(r"data:[^,]{0,256};base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
_EXAMPLE = '{"image": "<base64>"} or {"images": ["<base64>", "<base64>"]}'


class _Items(list[tuple[str, object]]):
    """The items of a JSON object, including repeated ones."""


def read_json(body: bytes) -> tuple[list[bytes], list[tuple[str, object]], bool]:
    """Return the images of a JSON object, its other items, and whether it has `image` rather than `images`.

    An item that is null counts as absent.

    Raises:
        HTTPProblem: 400 when the body is not a JSON object, 422 when an image is not base64.
    """
    try:
        items = json.loads(body, object_pairs_hook=_Items)
    except (ValueError, RecursionError):
        raise HTTPProblem(400, "body_broken", f"the body is not JSON; expected {_EXAMPLE}.") from None
    if not isinstance(items, _Items):
        raise HTTPProblem(400, "body_broken", f"the body is not a JSON object; expected {_EXAMPLE}.")
    given = [(name, value) for name, value in items if value is not None]
    fields = [(name, value) for name, value in given if name in ("image", "images")]
    if len(fields) > 1:
        raise HTTPProblem(422, "field", f"'image' or 'images' is given more than once; expected {_EXAMPLE}.")
    name, value = fields[0] if fields else ("images", [])
    texts = [value] if name == "image" else value
    if type(texts) is not list:
        raise HTTPProblem(422, "field", f"'images' is not a list; expected {_EXAMPLE}.")
    images = [_decode(text, index) for index, text in enumerate(texts)]
    return images, [item for item in given if item not in fields], name == "image"


def _decode(text: object, index: int) -> bytes:
    """Decode base64 or a data URL; line breaks and the URL-safe alphabet are accepted."""
    if not isinstance(text, str):
        raise HTTPProblem(422, "base64", f"image {index} is not text; expected base64.")
    if text[:8].lower().startswith(("http:", "https:", "file:", "ftp:")):
        raise HTTPProblem(422, "base64", f"image {index} is an address, which is not fetched; send its data as base64.")
    data = "".join(_DATA_URL.sub("", text, count=1).split()).translate(_URL_SAFE)
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise HTTPProblem(422, "base64", f"image {index} is not base64 or a data URL with base64.") from None
