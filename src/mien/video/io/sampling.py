"""Sampling of a video at a lower frame rate."""

from __future__ import annotations

import math
from dataclasses import replace

from mien.video.io.sources import VideoInfo

ROUNDING_S = 1.1e-6
"""Maximum difference of two timestamps of one frame: tables round them to 6 decimals."""
_TICK_SHARE = 1.01
"""Share of a tick by which a time may be too low: the timestamps of the frame and of the first frame are rounded."""
_MAX_INTERVAL_SHARE = 0.15
"""Maximum tolerance, as a share of the interval: a clock with long ticks counts frames and is not rounded."""


class FrameSampler:
    """Selects the first frame of each interval of 1 / fps seconds.

    Args:
        fps: maximum number of frames per second; None selects all frames.
        tick_s: unit of the timestamps, in seconds; Matroska rounds them to 0.001 s.
    """

    def __init__(self, fps: float | None, tick_s: float = 0.0) -> None:
        self._fps = fps
        self._tolerance_s = ROUNDING_S
        if fps is not None:
            self._tolerance_s = max(ROUNDING_S, min(_TICK_SHARE * tick_s, _MAX_INTERVAL_SHARE / fps))
        self._interval = -1

    def is_due(self, timestamp_s: float) -> bool:
        """Return True when a frame is selected; called once for each frame, in order, also after skipped ones."""
        if self._fps is None:
            return True
        interval = math.floor((timestamp_s + self._tolerance_s) * self._fps)
        is_new = interval > self._interval
        self._interval = max(interval, self._interval)
        return is_new


def sampled_info(info: VideoInfo, fps: float | None) -> VideoInfo:
    """Return the properties of a video that is sampled at a rate."""
    if fps is None or info.is_live or (info.fps is not None and info.fps <= fps):
        return info
    frames = info.frames
    if info.duration_s:
        frames = max(1, round(info.duration_s * fps))
    elif frames and info.fps:
        frames = max(1, round(frames * fps / info.fps))
    return replace(info, fps=fps, frames=frames)
