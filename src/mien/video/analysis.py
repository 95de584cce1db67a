"""Video analysis: the faces of a file, a stream or a camera, frame by frame."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.addresses import public_name
from mien.devices import Precision
from mien.drawing.blur_mode import BlurMode, check_blur
from mien.inference.analyzer import Analyzer
from mien.inference.run_settings import run_settings
from mien.results import VideoFrame
from mien.runtime import DEFAULT_MODEL
from mien.video.follower import FaceFollower
from mien.video.io.fingerprint import identify
from mien.video.io.frame_queue import FrameQueue
from mien.video.io.reader import VideoReader
from mien.video.io.sources import VideoInfo, VideoInput, is_pipe
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

    The source is opened at once, and closed when the iterator ends or is deleted.

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

    Returns:
        An iterator over all frames with their faces; for a live source over the newest ones, without those that arrived
        during an analysis.

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
    analysis = VideoAnalysis(
        source, analyzer, detect_every=detect_every, smoothing_s=smoothing_s, fps=fps, keep_images=keep_images
    )
    frames = _frames(analysis)
    # the generator itself closes nothing if it is deleted before its first frame
    weakref.finalize(frames, analysis.close)
    return frames


def _frames(analysis: VideoAnalysis) -> Iterator[VideoFrame]:
    with analysis:
        yield from analysis


class VideoAnalysis(AbstractContextManager["VideoAnalysis"]):
    """One pass over a video: a context manager, and an iterator over its frames; see `analyze_video`.

    Args:
        source: see `analyze_video`.
        analyzer: see `analyze_video`.
        detect_every: see `analyze_video`.
        smoothing_s: see `analyze_video`.
        fps: see `analyze_video`.
        keep_images: see `analyze_video`.
        blur: faces that will be hidden in what is shown of the frames, see `mien.video.hiding`; the frames themselves
            stay as they are. Every detection then scans the full frame, so that a small face is found at once.
        check_stop: called every half second while no frame arrives, and by `mien.recording.record` between the frames
            of a second pass; a KeyboardInterrupt that it raises ends the analysis like Ctrl-C.

    Attributes:
        source: as given.
        fps: as given.
        keep_images: as given.
        blur: as given.
        check_stop: as given.
        is_pipe: true when the source is the path of a named pipe or a device, which can be read only once.
        reader: the open source.
        info: properties of the video.
        follower: the state between frames.
        dropped: number of frames of a live source that were replaced by newer ones.
        broken: number of broken frames up to the last frame, which are left out.

    Raises:
        VideoReadError: when not a single frame can be read.
        InputError: when an argument is out of range, or faces are to be hidden and their number is limited.
        MissingExtraError: when PyAV is not installed.
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
        blur: BlurMode | None = None,
        check_stop: Callable[[], None] | None = None,
    ) -> None:
        check_blur(blur, analyzer.options.max_faces)
        self.source = source
        self.fps = fps
        self.keep_images = keep_images
        self.blur: BlurMode | None = blur
        self.check_stop = check_stop
        self.is_pipe = isinstance(source, str | os.PathLike) and is_pipe(source)
        self.follower = FaceFollower(analyzer, detect_every=detect_every, smoothing_s=smoothing_s)
        self.follower.scanner.may_reduce = blur is None
        self.reader = VideoReader(source, fps=fps, color=analyzer.options.color)
        self.info: VideoInfo = self.reader.info
        self.dropped = 0
        self.broken = 0
        self._frames: FrameQueue | None = None

    @property
    def is_path(self) -> bool:
        """True when the source is a path or an address."""
        return isinstance(self.source, str | os.PathLike)

    @property
    def is_repeatable(self) -> bool:
        """True when the same frames can be read a second time: a path or an address, but no live source or pipe."""
        return self.is_path and not self.info.is_live and not self.is_pipe

    @property
    def is_resumable(self) -> bool:
        """True when the analysis can be continued after a frame, and the faces to hide are known then."""
        is_given_again = not self.info.is_live and not self.is_pipe
        return is_given_again and (self.blur is None or self.is_repeatable)

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
        with FrameQueue(self.reader, newest=self.info.is_live, on_wait=self.check_stop) as frames:
            self._frames = frames
            for frame in frames:
                started_s = time.perf_counter()
                result = self.follower.step(frame)
                if self.info.is_live and self.follower.has_detected:
                    self.follower.schedule.slow_down(time.perf_counter() - started_s)
                self.dropped = frames.dropped
                self.broken = frames.broken
                yield result if self.keep_images else replace(result, image=_NO_IMAGE)
        self.broken = self.reader.broken

    def settings(self) -> dict[str, Any]:
        """Return the source and every option, as JSON values; an analysis with equal ones has the same results."""
        follower = self.follower
        return {
            **run_settings(follower.analyzer),
            "source": public_name(str(self.source)) if self.is_path else self.info.source,
            "size and time of the file": identify(self.source) if isinstance(self.source, str | os.PathLike) else None,
            "fps": self.fps,
            "size_hw": list(self.info.size_hw),
            "detect_every": follower.schedule.every,
            "smoothing_s": follower.smoother.time_constant_s,
            "abstain_below": follower.smoother.abstain_below,
        }

    def close(self) -> None:
        """Close the source, unless a read in progress still uses it, as of a camera that does not answer."""
        if self._frames is None or not self._frames.is_reading:
            self.reader.close()

    def __exit__(self, *error: object) -> None:
        self.close()
