"""Conversion of decoded frames to upright RGB images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame

_BT601 = 5
"""Colorspace number of swscale."""


class FrameConverter:
    """Converts decoded frames to upright RGB images of the first frame's size.

    Transparent pixels are blended over white, as in `read_image`. Colors follow the matrix and range of the file; a
    file without a matrix is read as BT.601, the default of swscale.

    Args:
        first: the first frame.
        max_side: maximum length of the longer side in pixels; None keeps the size.

    Attributes:
        size_hw: height and width of the upright first frame.
    """

    def __init__(self, first: VideoFrame, max_side: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        is_transposed = _orientation(first)[0]
        self.size_hw = (first.width, first.height) if is_transposed else (first.height, first.width)
        scale = min(1.0, max_side / max(self.size_hw)) if max_side else 1.0
        self._height, self._width = (max(1, round(side * scale)) for side in self.size_hw)

    def convert(self, frame: VideoFrame) -> np.ndarray:
        """Return the pixels of a frame, (H, W, 3) uint8 RGB."""
        is_transposed, step_x, step_y = _orientation(frame)
        height, width = (self._width, self._height) if is_transposed else (self._height, self._width)
        has_alpha = any(component.is_alpha for component in frame.format.components)
        image: Any = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgba" if has_alpha else "rgb24",
            # Before PyAV 17 the colorspace of the frame has to be passed.
            src_colorspace=frame.colorspace,
            dst_colorspace=_BT601,
            src_color_range=frame.color_range,
        ).to_ndarray()
        if has_alpha:
            image = _blend_over_white(image)
        if is_transposed:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(image[::step_y, ::step_x])


def _blend_over_white(image: np.ndarray) -> np.ndarray:
    alpha = image[:, :, 3:].astype(np.uint16)
    return ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _orientation(frame: VideoFrame) -> tuple[bool, int, int]:
    """Return the transform that makes a frame upright.

    Returns:
        True when rows and columns are swapped, then the steps along x and y, 1 or -1.

    Source:
        FFmpeg's libavutil/display.h: x' = a x + c y, y' = b x + d y, with a, b, u, c, d first in the matrix.
    """
    side_data: Any = frame.side_data
    try:
        matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), dtype=np.int32)
    except KeyError:
        return False, 1, 1
    a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    is_transposed = abs(b) > abs(a)
    along_x, along_y = (c, b) if is_transposed else (a, d)
    return is_transposed, -1 if along_x < 0 else 1, -1 if along_y < 0 else 1
