"""Faces in a video, frame by frame: one loop for files, streams and cameras."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

from mien.inference.analyzer import Analyzer
from mien.results import VideoFrame
from mien.runtime import DEFAULT_MODEL
from mien.video.closing import Closing
from mien.video.follower import DETECT_EVERY, FaceFollower
from mien.video.io.frame_queue import FrameQueue
from mien.video.io.reader import VideoReader
from mien.video.io.sources import VideoInfo
from mien.video.smoothing import TIME_CONSTANT_S

MAX_EVERY = 15
"""A live source is never searched less often than in one frame of so many."""
_BUSY = 0.85  # share of the time between two frames that may be worked, so that some is left to show them


def analyze_video(
    source: str | Path | int,
    *,
    model: str | Path = DEFAULT_MODEL,
    analyzer: Analyzer | None = None,
    detect_every: int | None = None,
    smoothing_s: float = TIME_CONSTANT_S,
    fps: float | None = None,
) -> Iterator[VideoFrame]:
    """Follow and read the faces of a video, frame by frame.

    Args:
        source: a file, an address (rtsp, http), a camera (0 or "camera:0"), a folder of images or a pattern.
        model: a shipped model's name or the path of an `.onnx` file; not used when an analyzer is given.
        analyzer: with other settings than the usual ones.
        detect_every: detect and classify faces in every Nth frame and track them in between; 3 by default, and for a
            live source as often as the machine keeps up with.
        smoothing_s: time constant of the filter of the probabilities, in seconds.
        fps: of a folder of images (25 unless told), or what is asked of a camera.

    Yields:
        Every frame with its faces. For a live source the newest one: those that came meanwhile are dropped.

    Raises:
        VideoReadError: when not a single frame can be had.
        InputError: when an argument is out of its range.
        ModelError: when a model is unknown or fails.
        MissingExtraError: when PyAV is not installed.

    Example:
        >>> for frame in analyze_video("clip.mp4"):  # doctest: +SKIP
        ...     print(frame.timestamp_s, [(face.track_id, face.smoothed.label) for face in frame.faces])
    """
    analyzer = analyzer or Analyzer(model)
    with VideoAnalysis(
        source, analyzer, detect_every=detect_every, smoothing_s=smoothing_s, fps=fps
    ) as analysis:
        yield from analysis


class VideoAnalysis(Closing):
    """One pass over a video: a context manager, and an iterator of its frames; see `analyze_video` for the arguments.

    Attributes:
        source: as it was given.
        fps: as it was given.
        info: what is known of the video.
        follower: what is remembered between frames.
        dropped: frames of a live source that were not looked at, because newer ones were there.
    """

    def __init__(
        self,
        source: str | Path | int,
        analyzer: Analyzer,
        *,
        detect_every: int | None = None,
        smoothing_s: float = TIME_CONSTANT_S,
        fps: float | None = None,
    ) -> None:
        self.source, self.fps = source, fps
        self.follower = FaceFollower(
            analyzer,
            detect_every=DETECT_EVERY if detect_every is None else detect_every,
            smoothing_s=smoothing_s,
        )
        self.reader = VideoReader(source, fps=fps)
        self.info: VideoInfo = self.reader.info
        self.dropped = 0
        self._pace = _Pace(self.info.fps) if self.info.is_live and detect_every is None else None

    @property
    def file(self) -> Path | None:
        """The file that is analyzed; None for a camera, a stream or a folder of images."""
        path = Path(str(self.source))
        try:
            return path if path.is_file() else None
        except (OSError, ValueError):  # a name that the system does not take
            return None

    @property
    def broken(self) -> int:
        """Frames that were left out so far because they are broken."""
        return self.reader.broken

    def __iter__(self) -> Iterator[VideoFrame]:
        with FrameQueue(self.reader, newest=self.info.is_live) as frames:
            for frame in frames:
                started = time.perf_counter()
                found = self.follower.step(frame)
                if self._pace is not None:
                    self._pace.note(time.perf_counter() - started, self.follower.has_read)
                    self.follower.detect_every = self._pace.detect_every
                self.dropped = frames.dropped
                yield found

    def close(self) -> None:
        """Let go of the source."""
        self.reader.close()


class _Pace:
    """How often faces can be read without falling behind: from what frames with and without a reading take."""

    def __init__(self, fps: float | None) -> None:
        self._step_s = 1 / fps if fps else 0.04
        self._with_s, self._without_s = 0.0, 0.0
        self.detect_every = DETECT_EVERY

    def note(self, seconds: float, is_reading: bool) -> None:
        """Take what the last frame took."""
        if is_reading:
            self._with_s = seconds if self._with_s == 0 else 0.7 * self._with_s + 0.3 * seconds
        else:
            self._without_s = seconds if self._without_s == 0 else 0.7 * self._without_s + 0.3 * seconds
        spare = _BUSY * self._step_s - self._without_s
        wanted = (self._with_s - self._without_s) / spare if spare > 0 else math.inf
        self.detect_every = (
            int(min(max(1, math.ceil(wanted)), MAX_EVERY)) if wanted < MAX_EVERY else MAX_EVERY
        )
