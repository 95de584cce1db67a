"""Decoded frames of files, streams and cameras: consistent timestamps, upright RGB images, exact seeking."""

from __future__ import annotations

import errno
import math
import re
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from mien.av_streams import MAX_FAILED_READS, decodable_audio, frame_stamp, load_av
from mien.errors import InputError, VideoReadError
from mien.video.io.frame_converter import FrameConverter
from mien.video.io.sampling import ROUNDING_S, FrameSampler, sampled_info
from mien.video.io.sources import DecodedFrame, VideoInfo, VideoSource, is_truncated_mp4, open_source, read_error

if TYPE_CHECKING:
    from av import VideoFrame
    from av.packet import Packet

_DEFAULT_STEP_S = 0.04
_CLOCK_RESET_S = 1.0
"""A step back by at least this much is a new clock; a smaller one is a frame out of order."""
_REPEAT_SHARE = 0.25
"""Place of a frame with a repeated timestamp, as a share of the time between two frames: up to four share one."""
_CAMERA_POLL_S = 0.004
_MIN_SEEK_S = 1.0
"""Distance from which on seeking replaces decoding."""
_SEEK_MARGINS_S = (0.0, 2.0, 10.0)
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_PLAYLISTS = ("concat", "dash", "hls", "sdp")
"""Formats whose file only names the streams."""
_SEEKABLE = ("matroska,webm", _MP4)
"""Formats in which seeking ends at a keyframe with its exact time."""


class FrameClock:
    """Strictly increasing timestamps from those of the frames, which may be missing, repeated or set back.

    Args:
        step_s: seconds between two frames, used where a timestamp is missing.

    Attributes:
        is_exact: true while all timestamps are those of the frames.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self.reset()

    def reset(self, last_s: float | None = None, gap_s: float = math.inf) -> None:
        """Start over, or continue after a timestamp that was used without a correction.

        Args:
            last_s: that timestamp.
            gap_s: its distance from the one before.
        """
        self._last_s = last_s
        self._last_stamp_s = last_s or 0.0
        self._gap_s = min(self._step_s, gap_s)
        self._shift_s = 0.0
        self.is_exact = True

    def time_s(self, stamp_s: float | None) -> float:
        """Return the timestamp of the next frame.

        Args:
            stamp_s: seconds since the first frame according to the file, or None.
        """
        if self._last_s is None:
            self._last_s = 0.0
            return 0.0
        next_s = self._last_s + self._step_s
        time_s = next_s if stamp_s is None else stamp_s + self._shift_s
        is_exact = stamp_s is not None and time_s > self._last_s
        if time_s <= self._last_s - _CLOCK_RESET_S:
            self._shift_s += next_s - time_s
            time_s = next_s
        if time_s > self._last_stamp_s:
            self._gap_s = min(self._step_s, time_s - self._last_stamp_s)
        self._last_stamp_s = time_s
        if time_s <= self._last_s:
            time_s = self._last_s + max(_REPEAT_SHARE * self._gap_s, 2 * ROUNDING_S)
        self._last_s = time_s
        self.is_exact = self.is_exact and is_exact
        return time_s


class ContainerFrames:
    """The frames of a file, a network stream or a camera, one at a time in memory.

    Args:
        source: from `resolve_source`.
        threads: for decoding; 0 uses all cores.
        max_side: see `FrameConverter`.
        timeout_s: for opening a network stream.
        fps: see `FrameSampler`; a camera is not sampled.

    Attributes:
        info: properties of the video.
        broken: number of undecodable frames so far.
        is_truncated: true when the source ended early; known after the last frame.
        problems: the reason why a stream or a camera failed, one line.

    Raises:
        VideoReadError: when the source cannot be opened, or no frame can be decoded.
    """

    def __init__(
        self, source: VideoSource, *, threads: int, max_side: int | None, timeout_s: float, fps: float | None = None
    ) -> None:
        self._av = load_av("reading video", "video")
        self._source = source
        self._threads = threads
        self._timeout_s = timeout_s
        self._open()
        self._sampler = FrameSampler(None if source.kind == "camera" else fps, float(self._tick))
        try:
            number, frame = next(self._frames, (0, None))
            if frame is None:
                raise VideoReadError(f"{source.name} has no frame that can be decoded.")
            self._frames = chain([(number, frame)], self._frames)
            self._first_stamp = frame_stamp(frame) or 0
            self._converter = FrameConverter(frame, self._stream, max_side)
            self.info = sampled_info(self._describe(), fps)
        except BaseException:
            self.close()
            raise
        self._clock = FrameClock(self._step_s)

    def _open(self) -> None:
        self._container, self._stream = open_source(self._source, threads=self._threads, timeout_s=self._timeout_s)
        self._tick = self._stream.time_base or Fraction(1, 1000)
        self._is_seekable = self._source.kind != "camera" and self._container.format.name in _SEEKABLE
        self._restart_decoding()

    def _restart_decoding(self) -> None:
        """Decode from the current position of the container."""
        self.broken = 0
        self.is_truncated = False
        self.problems: list[str] = []
        self._number_shift = 0
        self._end_s: float | None = None
        self._frames: Iterator[tuple[int, VideoFrame]] = self._decode()

    def _describe(self) -> VideoInfo:
        rate = self._stream.average_rate or self._stream.guessed_rate
        fps = float(rate) if rate else None
        duration_s = self._container.duration / 1e6 if self._container.duration else None
        if self._stream.duration:
            duration_s = float(self._stream.duration * self._tick)
        self._step_s = 1 / fps if fps else _DEFAULT_STEP_S
        estimate = round(duration_s * fps) if duration_s and fps else None
        return VideoInfo(
            source=self._source.name,
            size_hw=self._converter.size_hw,
            fps=fps,
            duration_s=duration_s,
            frames=self._stream.frames or estimate,
            has_audio=decodable_audio(self._container) is not None,
            is_live=self._source.kind == "camera" or (duration_s is None and self._is_endless()),
        )

    def _is_endless(self) -> bool:
        """Return True for a stream without a duration, unless it is a file of known size on a web server."""
        if self._source.kind != "stream":
            return False
        return self._container.size <= 0 or self._container.format.name in _PLAYLISTS

    def close(self) -> None:
        """Close the source."""
        self._frames = iter(())
        self._container.close()

    def __next__(self) -> DecodedFrame:
        for number, frame in self._frames:
            timestamp_s = self._clock.time_s(self._seconds(frame))
            if not self._sampler.is_due(timestamp_s):
                continue
            image = self._convert(frame)
            if image is not None:
                return DecodedFrame(number + self._number_shift, timestamp_s, image)
            self.broken += 1
        raise StopIteration

    @property
    def has_exact_times(self) -> bool:
        """True while the timestamps are those of the file, so that frames are found by them."""
        return self._clock.is_exact

    def skip_to(self, index: int, timestamp_s: float, *, seek: bool = True) -> None:
        """Continue after the frame of this index and time; see `VideoReader.skip_to`."""
        if self.info.is_live:
            raise InputError(f"{self._source.name} is live: an analysis of it cannot be resumed.")
        # from an earlier frame: the clock continues with the distance of the last two
        is_found = seek and self._seek(timestamp_s - 2.1 * self._tolerance_s)
        if not (is_found and self._drop_to_time(index, timestamp_s)):
            self._reopen()
            self._drop_to_number(index)
        self._sampler.is_due(timestamp_s)
        self.broken = 0

    def images_at(
        self, timestamps_s: Iterable[float], *, seek: bool = True
    ) -> Iterator[tuple[float, np.ndarray | None]]:
        """Yield the image at each time, in time order; see `frames_at`."""
        self._is_seekable = self._is_seekable and seek
        current, following = None, next(self._timed_frames(), None)
        for timestamp_s in sorted(timestamps_s):
            if following and timestamp_s - following[0] > _MIN_SEEK_S and self._is_seekable:
                if not self._seek(timestamp_s):
                    self._reopen()
                    self._is_seekable = False
                current, following = None, next(self._timed_frames(), None)
            while following and following[0] <= timestamp_s + self._tolerance_s:
                current, following = following, next(self._timed_frames(), None)
            if current is None or (following is None and timestamp_s > current[0] + self._step_s + ROUNDING_S):
                yield timestamp_s, None
            else:
                yield timestamp_s, self._convert(current[1])

    def _convert(self, frame: VideoFrame) -> np.ndarray | None:
        try:
            return self._converter.convert(frame, self._stream)
        except (self._av.FFmpegError, ValueError):
            return None

    def _timed_frames(self) -> Iterator[tuple[float, VideoFrame]]:
        for _, frame in self._frames:
            yield self._clock.time_s(self._seconds(frame)), frame

    def _reopen(self) -> None:
        self._container.close()
        self._open()
        self._clock.reset()

    def _seek(self, timestamp_s: float) -> bool:
        """Seek to a keyframe at or before a time; return False, at an arbitrary position, when that fails."""
        for margin_s in _SEEK_MARGINS_S if self._is_seekable else ():
            target = self._first_stamp + max(0, round((timestamp_s - margin_s) / self._tick))
            try:
                self._container.seek(target, stream=self._stream)
            except self._av.FFmpegError:
                return False
            self._restart_decoding()
            number, frame = next(self._frames, (0, None))
            seconds = None if frame is None else self._seconds(frame)
            if frame is None or not frame.key_frame or seconds is None:
                continue
            if seconds <= timestamp_s + self._tolerance_s:
                self._frames = chain([(number, frame)], self._frames)
                self._clock.reset(seconds - self._step_s)
                return True
        return False

    @property
    def _tolerance_s(self) -> float:
        return max(float(self._tick) * 0.49, ROUNDING_S)

    def _drop_to_time(self, index: int, timestamp_s: float) -> bool:
        """Drop frames up to a time; return False when the video ends before it."""
        before_s = -math.inf
        for number, frame in self._frames:
            seconds = self._seconds(frame)
            if seconds is None or seconds > timestamp_s + self._tolerance_s:
                return False
            if seconds >= timestamp_s - self._tolerance_s:
                self._number_shift = index - number
                self._clock.reset(seconds, seconds - before_s)
                return True
            before_s = seconds
        return False

    def _drop_to_number(self, index: int) -> None:
        for number, frame in self._frames:
            if number > index:
                self._frames = chain([(number, frame)], self._frames)
                return
            self._clock.time_s(self._seconds(frame))

    def _seconds(self, frame: VideoFrame) -> float | None:
        """Return the seconds since the first frame according to the file."""
        stamp = frame_stamp(frame)
        return None if stamp is None else float((stamp - self._first_stamp) * self._tick)

    def _decode(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yield numbered frames from libav; a broken frame takes a number too."""
        number = 0
        for packet in self._packets():
            try:
                frames: list[VideoFrame] = self._stream.codec_context.decode(packet)
            except self._av.error.EOFError:
                continue
            except (self._av.FFmpegError, ValueError):
                self.broken += 1
                number += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield number, frame
                number += 1
        self.is_truncated = self.is_truncated or self._ended_early()

    def _packets(self) -> Iterator[Packet | None]:
        """Yield the packets of the video stream, then None; continue after a damaged part where possible."""
        failures = 0
        while failures < MAX_FAILED_READS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        failures = 0
                        self._note_end(packet)
                        yield packet
                break
            except self._av.error.BlockingIOError:  # a camera on macOS has no frame yet
                time.sleep(_CAMERA_POLL_S)
            except (self._av.FFmpegError, ValueError) as error:
                failures += 1
                is_end = self._is_end(error)
                self.is_truncated = self.is_truncated or not is_end
                if self._source.kind != "file":
                    self.problems = [] if is_end else [read_error(self._source, error)]
                    break
        yield None

    def _is_end(self, error: Exception) -> bool:
        """Return True for the error with which libav ends an HTTP response of unknown length."""
        is_http = self._source.url.lower().startswith("http")
        is_unsized = self._container.size <= 0 and self._container.format.name not in _PLAYLISTS
        return is_http and is_unsized and getattr(error, "errno", None) == errno.EIO

    def _note_end(self, packet: Packet) -> None:
        if packet.pts is not None:
            end_s = float((packet.pts + (packet.duration or 0)) * self._tick)
            self._end_s = max(end_s, self._end_s or end_s)

    def _ended_early(self) -> bool:
        """Return True when the last packet ends before the duration in the header."""
        if self._source.kind == "file" and self._container.format.name == _MP4:
            return is_truncated_mp4(self._source)
        expected_s = self._expected_end_s()
        if expected_s is None or self._end_s is None or self._source.kind == "camera":
            return False
        return self._end_s < expected_s - max(0.5, 3 * self._step_s)

    def _expected_end_s(self) -> float | None:
        """Return the end of the video on the clock of the file; Matroska has it in a tag of the stream."""
        tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self._stream.metadata.get("DURATION", ""))
        if tag:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        if not self._stream.duration:
            return None
        return float((self._stream.duration + (self._stream.start_time or 0)) * self._tick)
