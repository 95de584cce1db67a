"""Frames from the caller's program as a video: an iterable of images, with or without timestamps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Any, cast

import numpy as np

from mien.errors import InputError, MienError, VideoReadError
from mien.imaging import Color, read_image
from mien.video.io.fitting import fit_image, limit_side
from mien.video.io.image_sequence import DEFAULT_FPS
from mien.video.io.sampling import FrameSampler
from mien.video.io.sources import DecodedFrame, VideoInfo

NAME = "the frames"
"""Name of such a source in messages."""


class OwnFrames:
    """The frames of an iterable, taken one at a time, fitted into the size of the first one.

    Args:
        frames: images as in `read_image`, or pairs (timestamp in seconds, image) with ascending timestamps.
        fps: rate of images without timestamps, 25 by default; those with timestamps are sampled at this rate.
        max_side: maximum length of the longer side in pixels.
        color: order of the channels of arrays.

    Attributes:
        info: properties of the video.

    Raises:
        InputError: when a frame is not an image, or timestamps do not ascend.
        VideoReadError: when there are no frames.
    """

    is_truncated = False
    broken = 0

    def __init__(self, frames: Iterable[Any], *, fps: float | None, max_side: int | None, color: Color) -> None:
        self._color: Color = color
        self._step_s = 1 / (fps or DEFAULT_FPS)
        self._items = enumerate(frames)
        first = next(self._items, None)
        if first is None:
            raise VideoReadError(f"{NAME} are empty; expected at least one image.")
        self._items = chain([first], self._items)
        self._sampler = FrameSampler(fps if isinstance(first[1], tuple) else None)
        self._first_s: float | None = None
        self._last_s = -1.0
        height, width = self._read(*first)[1].shape[:2]
        self._size_hw = limit_side((height, width), max_side)
        self._last_skipped = -1
        count = len(frames) if isinstance(frames, Sized) else None
        rate = None if isinstance(first[1], tuple) else 1 / self._step_s
        self.info = VideoInfo(
            source=NAME,
            size_hw=(height, width),
            fps=rate,
            duration_s=count / rate if count and rate else None,
            frames=count,
            has_audio=False,
            is_live=False,
        )

    def close(self) -> None:
        """Stop the iteration."""
        self._items: Iterator[tuple[int, Any]] = iter(())

    def __next__(self) -> DecodedFrame:
        for index, item in self._items:
            stamp_s, image = self._read(index, item)
            if self._first_s is None:
                self._first_s = stamp_s
            timestamp_s = stamp_s - self._first_s
            if timestamp_s <= self._last_s:
                raise InputError(f"frame {index} is at {stamp_s} s, not later than the frame before it.")
            self._last_s = timestamp_s
            if self._sampler.is_due(timestamp_s) and index > self._last_skipped:
                # The caller may reuse its array for the next frame.
                return DecodedFrame(index, timestamp_s, fit_image(image, self._size_hw).copy())
        raise StopIteration

    def skip_to(self, index: int, timestamp_s: float) -> None:
        """Continue after the frame of this index."""
        self._last_skipped = index

    def images_at(self, timestamps_s: Iterable[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        """Yield no image: the frames cannot be taken a second time."""
        yield from ((timestamp_s, None) for timestamp_s in sorted(timestamps_s))

    def _read(self, index: int, item: Any) -> tuple[float, np.ndarray]:
        """Return timestamp and pixels of a frame."""
        stamp_s, image = item if isinstance(item, tuple) and len(item) == 2 else (index * self._step_s, item)
        if isinstance(stamp_s, bool) or not isinstance(stamp_s, int | float | np.number) or not np.isfinite(stamp_s):
            raise InputError(f"frame {index}: {stamp_s!r} is not a timestamp; expected (seconds, image) or an image.")
        try:
            return float(stamp_s), read_image(cast(Any, image), color=self._color)
        except MienError as error:
            raise InputError(f"frame {index}: {error}") from None
