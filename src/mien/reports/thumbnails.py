"""Faces as data URIs: small copies of images, and crops of video frames."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from mien.drawing.blur import pixelate
from mien.errors import InputError
from mien.imaging import check_image
from mien.video.face_rows import FaceLocation
from mien.video.hiding import HiddenFaces

FrameReader = Callable[[Sequence[float]], Iterator[tuple[float, np.ndarray | None]]]
"""Returns the frames (H, W, 3) uint8 RGB at ascending times in seconds, one per time; None for an unreadable one."""

Crop = tuple[FaceLocation, int]
"""A face in a frame, and the side of its thumbnail in pixels."""

MAX_FACE_PX = 224
"""Longest side in pixels of a face of an evaluation report."""
MAX_PNG_PX = 64
"""Faces up to this side in pixels are stored as PNG, larger ones as JPEG."""
CROP_SCALE = 1.6
"""Side of a crop of a video frame, as a multiple of the longer side of the face's box."""


def data_uri(data: bytes, kind: str) -> str:
    """Return an encoded image as a data URI; `kind` is "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def encode_face(image: np.ndarray, name: str) -> str:
    """Return an image (H, W, 3) uint8 as a data URI, at most `MAX_FACE_PX` pixels on its longer side.

    Raises:
        InputError: the array is not such an image; the message contains `name`.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(f"{name}: {image.shape} of {image.dtype}, expected an image (H, W, 3) uint8.")
    thumbnail = Image.fromarray(np.ascontiguousarray(image))
    thumbnail.thumbnail((MAX_FACE_PX, MAX_FACE_PX), Image.Resampling.LANCZOS)
    if max(thumbnail.size) <= MAX_PNG_PX:
        return _encode(thumbnail, "png", optimize=True)
    return _encode(thumbnail, "jpeg", quality=88)


def crop_faces(read_frames: FrameReader, crops: Iterable[Crop]) -> dict[Crop, str]:
    """Return the data URI of each crop; each frame is read once, and faces of unreadable frames are missing.

    Raises:
        InputError: a frame is not (H, W, 3) uint8.
    """
    by_time: dict[float, list[Crop]] = {}
    for crop in crops:
        by_time.setdefault(crop[0].timestamp_s, []).append(crop)
    times = sorted(by_time)
    uris: dict[Crop, str] = {}
    for time_s, (_, frame) in zip(times, read_frames(times) if times else (), strict=False):
        if frame is not None:
            check_image(frame)
            uris |= {crop: _encode_crop(frame, *crop) for crop in by_time[time_s]}
    return uris


def hide_faces(read_frames: FrameReader, hidden: HiddenFaces) -> FrameReader:
    """Return a reader of the same frames with hidden faces."""

    def read(times_s: Sequence[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        for time_s, frame in read_frames(times_s):
            yield time_s, None if frame is None else pixelate(frame, hidden.boxes_at(time_s))

    return read


def square_around(location: FaceLocation, size_hw: tuple[int, int]) -> tuple[int, int, int]:
    """Return left, top and side of the square around a face, shifted into the image and at most as large.

    Example:
        >>> square_around(FaceLocation(timestamp_s=0, bbox_xyxy=(10, 10, 30, 20)), (40, 100))
        (4, 0, 32)
    """
    height, width = size_hw
    x1, y1, x2, y2 = location.bbox_xyxy
    longest = max(x2 - x1, y2 - y1, 1.0)
    side = max(1, min(round(CROP_SCALE * longest), height, width))

    def shift(center: float, length: int) -> int:
        return int(min(max(math.floor(center - side / 2), 0), length - side))

    return shift((x1 + x2) / 2, width), shift((y1 + y2) / 2, height), side


def _encode_crop(frame: np.ndarray, location: FaceLocation, side_px: int) -> str:
    left, top, side = square_around(location, (frame.shape[0], frame.shape[1]))
    patch = Image.fromarray(np.ascontiguousarray(frame[top : top + side, left : left + side]))
    thumbnail = patch.resize((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _encode(thumbnail, "jpeg", quality=82, optimize=True)


def _encode(image: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return data_uri(buffer.getvalue(), kind)
