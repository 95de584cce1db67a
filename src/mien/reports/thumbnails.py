"""Faces cut out of video frames, as small JPEG data URIs for a page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mien.imaging import check_image
from mien.video.transitions import FaceLocation

Images = Callable[[Sequence[float]], Iterator[tuple[float, np.ndarray | None]]]
"""Gives the frames (H, W, 3) uint8 RGB at some ascending moments: one for each, in order; None where there is none."""

ROOM = 1.6
"""Side of the square around a face, in longer sides of its box."""
_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A face to cut out, and the side in pixels that it gets."""

    location: FaceLocation
    side: int


def cut_faces(images: Images, wanted: Sequence[Wanted]) -> dict[Wanted, str]:
    """Data URIs of the wanted faces. Every frame is asked for once; what cannot be had is left out."""
    by_time: dict[float, list[Wanted]] = {}
    for item in wanted:
        by_time.setdefault(item.location.timestamp_s, []).append(item)
    moments = sorted(by_time)
    found: dict[Wanted, str] = {}
    for asked, (_, frame) in zip(moments, images(moments) if moments else (), strict=False):
        if frame is not None:
            found |= {item: _encode(check_image(frame), item) for item in by_time[asked]}
    return found


def square_around(location: FaceLocation, size_hw: tuple[int, int]) -> tuple[int, int, int]:
    """Left, top and side of the square around a face, moved into the image and no larger than it.

    Example:
        >>> square_around(FaceLocation(timestamp_s=0, bbox_xyxy=(10, 10, 30, 20)), (40, 100))
        (4, 0, 32)
    """
    height, width = size_hw
    x1, y1, x2, y2 = location.bbox_xyxy
    longest = max(x2 - x1, y2 - y1, 1.0)
    side = max(1, min(round(ROOM * longest), height, width))
    left, top = ((x1 + x2 - side) / 2, (y1 + y2 - side) / 2)
    return _into(left, width - side), _into(top, height - side), side


def _into(start: float, most: int) -> int:
    return int(min(max(math.floor(start), 0), most))


def _encode(frame: np.ndarray, item: Wanted) -> str:
    from PIL import Image

    left, top, side = square_around(item.location, (frame.shape[0], frame.shape[1]))
    patch = Image.fromarray(np.ascontiguousarray(frame[top : top + side, left : left + side]))
    small = patch.resize((item.side, item.side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
