"""Video from anywhere as upright RGB frames with true times: files, network streams, cameras, folders of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from mien.errors import InputError
from mien.video.closing import Closing
from mien.video.io.decoder import ContainerFrames
from mien.video.io.image_sequence import ImageFrames, image_frames
from mien.video.io.sources import DecodedFrame, VideoInfo, locate

__all__ = ["DecodedFrame", "VideoInfo", "VideoReader", "frames_at"]


class VideoReader(Closing):
    """The frames of a video, one after the other; memory does not grow with its length.

    Once a source is open nothing is raised: broken frames are left out, and a file that is cut off ends at the cut.
    A frame of another size than the first is brought to the first one's size.

    Args:
        source: a file; an address (rtsp, http, ...); a camera, as its number or as "camera:0"; a folder of images,
            read in natural order; a pattern like "frames/%04d.png"; an image or an animated one.
        threads: for decoding; 0 is as many as there are cores.
        fps: how fast images follow each other (25 unless told), or what is asked of a camera; other videos have
            their own times.
        most_side: larger frames are made smaller until their longer side is this, in pixels.
        timeout_s: how long to wait for a network stream.

    Attributes:
        info: what is known of the video.

    Raises:
        VideoReadError: when not a single frame can be had.
        InputError: when an argument makes no sense.
        MissingExtraError: when PyAV is not installed; images do not need it.
    """

    def __init__(
        self,
        source: str | Path | int,
        *,
        threads: int = 0,
        fps: float | None = None,
        most_side: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        if fps is not None and not 0 < fps < float("inf"):
            raise InputError(f"fps must be above 0, got {fps}.")
        if most_side is not None and most_side < 1:
            raise InputError(f"most_side must be at least 1 pixel, got {most_side}.")
        images = None if isinstance(source, int) else image_frames(source, fps=fps, most_side=most_side)
        self._frames: ImageFrames | ContainerFrames = images or ContainerFrames(
            locate(source, fps), threads=threads, most_side=most_side, timeout_s=timeout_s
        )
        self.info: VideoInfo = self._frames.info

    @property
    def broken(self) -> int:
        """How many frames were left out so far because they are broken."""
        return self._frames.broken

    @property
    def is_truncated(self) -> bool:
        """Whether the source broke off before its promised end; known when the frames have been read."""
        return self._frames.is_truncated

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> DecodedFrame:
        return next(self._frames)

    def skip_to(self, index: int, timestamp_s: float) -> None:
        """Continue after a frame that was read before, with just the frames that a straight reading would give.

        MP4 and Matroska are sought; of all others the frames before it are decoded again. `broken` starts again at 0.

        Args:
            index: the frame's number.
            timestamp_s: its time, exact to a microsecond.

        Raises:
            InputError: when the source is live.
        """
        self._frames.skip_to(index, timestamp_s)

    def close(self) -> None:
        """Let go of the source; no more frames come."""
        self._frames.close()


def frames_at(
    source: str | Path,
    timestamps_s: Sequence[float],
    *,
    most_side: int | None = None,
    fps: float | None = None,
) -> Iterator[tuple[float, np.ndarray | None]]:
    """What a video shows at some moments, in time order: one pass, by seeking where that is faster.

    Yields:
        The moment, and the image (H, W, 3) uint8 RGB that is shown then, or None before the start and after the end.

    Raises:
        VideoReadError: when not a single frame can be had.
    """
    with VideoReader(source, most_side=most_side, fps=fps) as reader:
        yield from reader._frames.images_at(timestamps_s)
