"""Conversion of decoded frames to upright RGB images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.video.io.fitting import center, fitted_size, limit_side

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

_BT601 = 5
"""Colorspace number of swscale."""
MAX_PIXEL_RATIO = 8
"""Maximum ratio of a pixel's sides; a file that states a larger one is damaged and is read with square pixels."""


class FrameConverter:
    """Converts decoded frames to upright RGB images with square pixels, fitted into the size of the first frame.

    Transparent pixels are blended over white, as in `read_image`. Colors follow the matrix and range of the file; a
    file without a matrix is read as BT.601, the default of swscale.

    Args:
        first: the first frame.
        stream: its stream, which states the aspect ratio of a pixel.
        max_side: maximum length of the longer side in pixels; None keeps the size.

    Attributes:
        size_hw: height and width of the upright first frame with square pixels.
    """

    def __init__(self, first: VideoFrame, stream: VideoStream, max_side: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._first_ratio = stream.codec_context.sample_aspect_ratio
        is_transposed = _orientation(first)[0]
        self.size_hw = _swap(self._square_size(first, stream), is_transposed)
        self._fitted_hw = limit_side(self.size_hw, max_side)

    def convert(self, frame: VideoFrame, stream: VideoStream) -> np.ndarray:
        """Return the pixels of a frame of a stream, (H, W, 3) uint8 RGB."""
        is_transposed, step_x, step_y = _orientation(frame)
        upright_hw = _swap(self._square_size(frame, stream), is_transposed)
        height, width = _swap(fitted_size(upright_hw, self._fitted_hw), is_transposed)
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
        return np.ascontiguousarray(center(image[::step_y, ::step_x], self._fitted_hw))

    def _square_size(self, frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
        """Return height and width of a stored frame with square pixels; the height is kept, as in players."""
        ratio = stream.codec_context.sample_aspect_ratio
        if ratio == self._first_ratio:
            ratio = stream.sample_aspect_ratio  # the container's comes first
        if ratio is None or not 1 / MAX_PIXEL_RATIO <= ratio <= MAX_PIXEL_RATIO:
            return frame.height, frame.width
        return frame.height, max(1, round(frame.width * ratio))


def _swap(size_hw: tuple[int, int], is_transposed: bool) -> tuple[int, int]:
    return (size_hw[1], size_hw[0]) if is_transposed else size_hw


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
    from av.sidedata import sidedata

    # `frame.side_data` would keep the container in the frame: a cycle that holds the pixels until garbage collection.
    container_type: Any = sidedata.SideDataContainer
    try:
        matrix = np.frombuffer(bytes(container_type(frame)["DISPLAYMATRIX"]), dtype=np.int32)
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    except KeyError:
        return False, 1, 1
    except ValueError:
        # PyAV knows no name of a kind of side data, such as EXIF; it reads the rotation without them, but no mirroring
        turn = math.radians(frame.rotation)
        a, b, c, d = (round(value) for value in (math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)))
    is_transposed = abs(b) > abs(a)
    along_x, along_y = (c, b) if is_transposed else (a, d)
    return is_transposed, -1 if along_x < 0 else 1, -1 if along_y < 0 else 1
