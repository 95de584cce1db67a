"""Annotated images as a response."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.drawing.annotate import draw_faces
from mien.imaging import read_image, resize
from mien.inference.result import Result
from mien.results import Face

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
MAX_SIDE_PX = 2560
"""Maximum long side of an image before its faces are drawn; a larger one would take seconds and much memory."""
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


def annotate(result: Result, data: bytes, media_type: str) -> bytes:
    """Draw the faces of a result on its encoded image, reduced to `MAX_SIDE_PX`, and return the encoded copy."""
    from PIL import Image

    pixels, faces = _reduce(read_image(data, max_pixels=result.width * result.height), result.faces)
    file = io.BytesIO()
    Image.fromarray(draw_faces(pixels, faces)).save(file, FORMATS[media_type], quality=_QUALITY)
    return file.getvalue()


def _reduce(pixels: np.ndarray, faces: Sequence[Face]) -> tuple[np.ndarray, Sequence[Face]]:
    """Return an image of at most `MAX_SIDE_PX` with its faces in its coordinates."""
    height, width = pixels.shape[:2]
    scale = MAX_SIDE_PX / max(height, width)
    if scale >= 1:
        return pixels, faces
    pixels = resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    return pixels, [
        replace(face, bbox_xyxy=face.bbox_xyxy * scale, landmarks_xy=face.landmarks_xy * scale) for face in faces
    ]
