"""Video analysis: the faces of a file, a stream or a camera, frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from mien.inference.analyzer import Analyzer
from mien.results import VideoFrame
from mien.runtime import DEFAULT_MODEL
from mien.video.follower import FaceFollower
from mien.video.io.frame_queue import FrameQueue
from mien.video.io.reader import VideoReader
from mien.video.io.sources import VideoInfo
from mien.video.smoothing import TIME_CONSTANT_S


def analyze_video(
    source: str | Path | int,
    *,
    model: str | Path = DEFAULT_MODEL,
    analyzer: Analyzer | None = None,
    detect_every: int | None = None,
    smoothing_s: float = TIME_CONSTANT_S,
    fps: float | None = None,
) -> Iterator[VideoFrame]:
    """Follow the faces of a video and classify their expressions, frame by frame.

    Args:
        source: a file, a URL (rtsp, http), a camera (0 or "camera:0"), a folder of images or a pattern.
        model: name of a shipped model or path of an `.onnx` file; ignored when an analyzer is given.
        analyzer: an analyzer with other options.
        detect_every: detect and classify faces in every Nth frame and track them in between; by default every 0.09 s or
            in the next frame, and for a live source less often where the machine does not keep up.
        smoothing_s: time constant of the filter of the probabilities, in seconds.
        fps: frame rate of a folder of images (25 by default), or the rate requested from a camera.

    Yields:
        Every frame with its faces; for a live source the newest frame, without those that arrived meanwhile.

    Raises:
        VideoReadError: when not a single frame can be read.
        InputError: when an argument is out of range.
        ModelError: when a model is unknown or fails.
        MissingExtraError: when PyAV is not installed.

    Example:
        >>> for frame in analyze_video("clip.mp4"):  # doctest: +SKIP
        ...     print(frame.timestamp_s, [(face.track_id, face.smoothed.label) for face in frame.faces])
    """
    analyzer = analyzer or Analyzer(model)
    with VideoAnalysis(source, analyzer, detect_every=detect_every, smoothing_s=smoothing_s, fps=fps) as analysis:
        yield from analysis


class VideoAnalysis(AbstractContextManager["VideoAnalysis"]):
    """One pass over a video: a context manager, and an iterator over its frames; see `analyze_video`.

    Attributes:
        source: as given.
        fps: as given.
        reader: the open source.
        info: properties of the video.
        follower: the state between frames.
        dropped: number of frames of a live source that were replaced by newer ones.
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
        self.source = source
        self.fps = fps
        self.follower = FaceFollower(analyzer, detect_every=detect_every, smoothing_s=smoothing_s)
        self.reader = VideoReader(source, fps=fps)
        self.info: VideoInfo = self.reader.info
        self.dropped = 0

    @property
    def file(self) -> Path | None:
        """The analyzed file; None for a camera, a stream or a folder of images."""
        path = Path(str(self.source))
        try:
            return path if path.is_file() else None
        except (OSError, ValueError):  # not a valid file name
            return None

    def __iter__(self) -> Iterator[VideoFrame]:
        with FrameQueue(self.reader, newest=self.info.is_live) as frames:
            for frame in frames:
                started_s = time.perf_counter()
                result = self.follower.step(frame)
                if self.info.is_live and self.follower.has_detected:
                    self.follower.schedule.slow_down(time.perf_counter() - started_s)
                self.dropped = frames.dropped
                yield result

    def close(self) -> None:
        """Close the source."""
        self.reader.close()

    def __exit__(self, *error: object) -> None:
        self.close()
