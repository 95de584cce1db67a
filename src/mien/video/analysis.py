"""Video analysis: the faces of a file, a stream or a camera, frame by frame."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.devices import Precision
from mien.inference.analyzer import Analyzer
from mien.results import VideoFrame
from mien.runtime import DEFAULT_MODEL
from mien.video.follower import FaceFollower
from mien.video.io.frame_queue import FrameQueue
from mien.video.io.reader import VideoReader
from mien.video.io.sources import VideoInfo, VideoInput
from mien.video.smoothing import TIME_CONSTANT_S

_NO_IMAGE = np.empty((0, 0, 3), dtype=np.uint8)


def analyze_video(
    source: VideoInput,
    *,
    model: str | Path = DEFAULT_MODEL,
    analyzer: Analyzer | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    detect_every: int | None = None,
    smoothing_s: float = TIME_CONSTANT_S,
    fps: float | None = None,
    keep_images: bool = True,
) -> Iterator[VideoFrame]:
    """Follow the faces of a video and classify their expressions, frame by frame.

    Args:
        source: a file, a URL (rtsp, http), a camera (0 or "camera:0"), a folder of images or a pattern; the content of
            a file, as bytes or as an open binary file; an iterable of images, or of pairs (seconds, image).
        model: name of a shipped model or path of an `.onnx` file; ignored when an analyzer is given.
        analyzer: an analyzer with other options, such as `color="bgr"` for images from OpenCV.
        device: see `Analyzer`; ignored when an analyzer is given.
        precision: see `Analyzer`; ignored when an analyzer is given.
        detect_every: detect and classify faces in every Nth frame and track them in between; by default every 0.09 s or
            in the next frame, and for a live source less often where the machine does not keep up.
        smoothing_s: time constant of the filter of the probabilities, in seconds.
        fps: frame rate of images without timestamps (25 by default), or the rate requested from a camera; any other
            video is sampled at this rate.
        keep_images: False for frames without pixels, (0, 0, 3): all frames of a video then fit in a list.

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
    analyzer = analyzer or Analyzer(model, device=device, precision=precision)
    with VideoAnalysis(
        source, analyzer, detect_every=detect_every, smoothing_s=smoothing_s, fps=fps, keep_images=keep_images
    ) as analysis:
        yield from analysis


class VideoAnalysis(AbstractContextManager["VideoAnalysis"]):
    """One pass over a video: a context manager, and an iterator over its frames; see `analyze_video`.

    Attributes:
        source: as given.
        fps: as given.
        keep_images: as given.
        reader: the open source.
        info: properties of the video.
        follower: the state between frames.
        dropped: number of frames of a live source that were replaced by newer ones.
    """

    def __init__(
        self,
        source: VideoInput,
        analyzer: Analyzer,
        *,
        detect_every: int | None = None,
        smoothing_s: float = TIME_CONSTANT_S,
        fps: float | None = None,
        keep_images: bool = True,
    ) -> None:
        self.source = source
        self.fps = fps
        self.keep_images = keep_images
        self.follower = FaceFollower(analyzer, detect_every=detect_every, smoothing_s=smoothing_s)
        self.reader = VideoReader(source, fps=fps, color=analyzer.options.color)
        self.info: VideoInfo = self.reader.info
        self.dropped = 0

    @property
    def is_path(self) -> bool:
        """True when the source is a path or an address, which can be opened a second time."""
        return isinstance(self.source, str | os.PathLike)

    @property
    def is_repeatable(self) -> bool:
        """True when the same frames can be read a second time: neither a live source nor what is not a path."""
        return self.is_path and not self.info.is_live

    @property
    def file(self) -> Path | None:
        """The analyzed file; None for a camera, a stream, a folder of images, or what is not a path."""
        if not self.is_path:
            return None
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
                yield result if self.keep_images else replace(result, image=_NO_IMAGE)

    def settings(self) -> dict[str, Any]:
        """Return the source and every option, as JSON values; an analysis with equal ones has the same results."""
        follower, analyzer = self.follower, self.follower.analyzer
        return {
            "source": str(self.source) if self.is_path else self.info.source,
            "bytes": self.file.stat().st_size if self.file else None,
            "fps": self.fps,
            "size_hw": list(self.info.size_hw),
            "detector_size": analyzer.detector_size,
            **asdict(analyzer.options),
            "detect_every": follower.schedule.every,
            "smoothing_s": follower.smoother.time_constant_s,
            "abstain_below": follower.smoother.abstain_below,
        }

    def close(self) -> None:
        """Close the source."""
        self.reader.close()

    def __exit__(self, *error: object) -> None:
        self.close()
