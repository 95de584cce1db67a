"""Sampling of a video at a lower frame rate."""

from __future__ import annotations

import math
from dataclasses import replace

from mien.video.io.sources import VideoInfo

_TOLERANCE_S = 1e-6
"""Timestamps are exact to a microsecond."""


class FrameSampler:
    """Selects the first frame of each interval of 1 / fps seconds.

    Args:
        fps: maximum number of frames per second; None selects all frames.
    """

    def __init__(self, fps: float | None) -> None:
        self._fps = fps
        self._interval = -1

    def is_due(self, timestamp_s: float) -> bool:
        """Return True when a frame is selected; called once for each frame, in order, also after skipped ones."""
        if self._fps is None:
            return True
        interval = math.floor((timestamp_s + _TOLERANCE_S) * self._fps)
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
