"""Annotated images as a response."""

from __future__ import annotations

import io

from mien.inference.result import Result

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_MAX_SIDE_PX = {"JPEG": 65_500, "WEBP": 16_383}
"""Maximum side of an image file; a larger image is sent as PNG."""
_QUALITY = 90


def accepted_image(accept: str) -> str | None:
    """Return the image type that a client accepts first; None when it accepts JSON or anything before."""
    for item in accept.split(","):
        media_type = item.partition(";")[0].strip().lower()
        if media_type in ("application/json", "application/*", "*/*"):
            return None
        if media_type in FORMATS:
            return media_type
        if media_type == "image/*":
            return "image/png"
    return None


def annotate(result: Result, data: bytes, media_type: str) -> tuple[str, bytes]:
    """Draw the faces of a result on its encoded image; return the media type and the encoded copy."""
    image = result.plot(data)
    if max(image.size) > _MAX_SIDE_PX.get(FORMATS[media_type], max(image.size)):
        media_type = "image/png"
    file = io.BytesIO()
    image.save(file, FORMATS[media_type], quality=_QUALITY)
    return media_type, file.getvalue()
