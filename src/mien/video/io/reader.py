"""Video reader: files, network streams, cameras and image sequences as upright RGB frames with timestamps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self, TypeGuard

import numpy as np

from mien.arguments import check_integer, check_number
from mien.errors import InputError
from mien.imaging import Color
from mien.video.io.decoder import ContainerFrames
from mien.video.io.image_sequence import ImageFrames, open_images
from mien.video.io.own_frames import OwnFrames
from mien.video.io.sources import DecodedFrame, VideoInfo, VideoInput, resolve_source

__all__ = ["DecodedFrame", "VideoInfo", "VideoReader", "frames_at"]


class VideoReader(AbstractContextManager["VideoReader"]):
    """Iterator over the frames of a video; memory does not grow with its length.

    An open reader does not raise: broken frames are left out, and a truncated file ends early. Frames are resized to
    the size of the first one where they differ.

    Args:
        source: a file; a URL (rtsp, http, ...); a camera, as its number or as "camera:0"; a folder of images in natural
            order; a pattern like "frames/%04d.png"; a still or animated image; the content of a file, as bytes or as an
            open binary file; an iterable of images, or of pairs (seconds, image).
        threads: for decoding; 0 uses all cores.
        fps: frame rate of images (25 by default), or the rate requested from a camera; other videos are sampled at this
            rate, and have their own by default.
        max_side: maximum length of the longer side in pixels; larger frames are downscaled.
        timeout_s: for opening a network stream; an open one ends after `READ_TIMEOUT_S` without data.
        color: order of the channels of arrays.

    Attributes:
        info: properties of the video.

    Raises:
        VideoReadError: when not a single frame can be read.
        InputError: when an argument is out of range.
        MissingExtraError: when PyAV is not installed; images do not need it.
    """

    def __init__(
        self,
        source: VideoInput,
        *,
        threads: int = 0,
        fps: float | None = None,
        max_side: int | None = None,
        timeout_s: float = 10.0,
        color: Color = "rgb",
    ) -> None:
        if fps is not None:
            fps = check_number("fps", fps, lambda number: number > 0, "a finite number above 0")
        if max_side is not None:
            max_side = check_integer("max_side", max_side, 1, meaning="pixels")
        self._frames: ImageFrames | OwnFrames | ContainerFrames
        images = None
        if isinstance(source, str | os.PathLike) and os.fspath(source):
            images = open_images(
                Path(source) if isinstance(source, os.PathLike) else source, fps=fps, max_side=max_side
            )
        if images is not None:
            self._frames = images
        elif _is_iterable_of_frames(source):
            self._frames = OwnFrames(source, fps=fps, max_side=max_side, color=color)
        else:
            self._frames = ContainerFrames(
                resolve_source(source, fps), threads=threads, max_side=max_side, timeout_s=timeout_s, fps=fps
            )
        self.info: VideoInfo = self._frames.info

    @property
    def broken(self) -> int:
        """Number of broken frames left out so far."""
        return self._frames.broken

    @property
    def problems(self) -> list[str]:
        """One line for each reason why images of a sequence are missing so far, or a stream or camera failed."""
        return [] if isinstance(self._frames, OwnFrames) else self._frames.problems

    @property
    def errors(self) -> list[str]:
        """Messages of the first unreadable images of a sequence, for `restore_errors`; empty for other sources."""
        return self._frames.errors if isinstance(self._frames, ImageFrames) else []

    def restore_errors(self, errors: Sequence[str], broken: int) -> None:
        """After `skip_to`, include the unreadable images before in `problems`; `broken` does not count them.

        Args:
            errors: `errors` of the interrupted pass.
            broken: number of unreadable images before.
        """
        if isinstance(self._frames, ImageFrames):
            self._frames.restore_errors(errors, broken)

    @property
    def is_truncated(self) -> bool:
        """True when the source ended early; known after the last frame."""
        return self._frames.is_truncated

    @property
    def has_failed(self) -> bool:
        """True when a network stream or a camera failed or sent nothing; `problems` has the reason."""
        return isinstance(self._frames, ContainerFrames) and bool(self._frames.problems)

    @property
    def has_exact_times(self) -> bool:
        """True while no timestamp differs from that of the file, so that frames are found by their times."""
        return not isinstance(self._frames, ContainerFrames) or self._frames.has_exact_times

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> DecodedFrame:
        return next(self._frames)

    def skip_to(self, index: int, timestamp_s: float, *, seek: bool = True) -> None:
        """Continue after a frame that was read before, with exactly the frames of an uninterrupted pass.

        MP4 and Matroska are seeked; other formats are decoded up to the frame. `broken` restarts at 0.

        Args:
            index: index of the frame.
            timestamp_s: its time, exact to a microsecond.
            seek: `has_exact_times` after that frame; False decodes up to it.

        Raises:
            InputError: when the source is live.
        """
        if isinstance(self._frames, ContainerFrames):
            self._frames.skip_to(index, timestamp_s, seek=seek)
        else:
            self._frames.skip_to(index, timestamp_s)

    def close(self) -> None:
        """Close the source; there are no more frames."""
        self._frames.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def _is_iterable_of_frames(source: VideoInput) -> TypeGuard[Iterable[Any]]:
    """Return True for an iterable that is neither a path nor the content of a file.

    Raises:
        InputError: when it is a single image.
    """
    if isinstance(source, np.ndarray) and source.ndim < 4:
        raise InputError(f"an array {source.shape} is not a video; pass an iterable of images, as in [image].")
    is_content = isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read")
    return isinstance(source, Iterable) and not is_content


def frames_at(
    source: str | Path,
    timestamps_s: Sequence[float],
    *,
    max_side: int | None = None,
    fps: float | None = None,
    seek: bool = True,
) -> Iterator[tuple[float, np.ndarray | None]]:
    """Yield the images of a video at some times in one pass, seeking where that is faster.

    Args:
        source: see `VideoReader`.
        timestamps_s: seconds since the first frame.
        max_side: see `VideoReader`.
        fps: see `VideoReader`.
        seek: False if a reader of the video did not have `has_exact_times`.

    Yields:
        The time, ascending, and the image (H, W, 3) uint8 RGB on screen then; None before the start, after the end and
        for a broken frame.

    Raises:
        VideoReadError: when not a single frame can be read.
    """
    with VideoReader(source, max_side=max_side, fps=fps) as reader:
        if isinstance(reader._frames, ContainerFrames):
            yield from reader._frames.images_at(timestamps_s, seek=seek)
        else:
            yield from reader._frames.images_at(timestamps_s)
