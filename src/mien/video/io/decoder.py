"""Frames of a container, decoded in order: true times, upright RGB, broken ones left out, seeking that is exact."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError, VideoReadError
from mien.video.io.sources import DecodedFrame, Place, VideoInfo, is_cut_mp4, load_av, open_place

if TYPE_CHECKING:
    from av import VideoFrame
    from av.packet import Packet

_DEFAULT_STEP_S = 0.04
_CLOCK_RESET_S = 1.0  # a step back by more is a new clock, by less a frame out of place
_BROKEN_READS = 16  # so many in a row end the file
_BT601 = 5  # in swscale's numbers
_CAMERA_PAUSE_S = 0.004
_LEAP_S = 1.0  # a moment farther ahead is sought, a nearer one is read up to
_SEEK_MARGINS_S = (0.0, 2.0, 10.0)
_INDEXED = ("matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")  # whose seeking lands on a keyframe's true time


class FrameClock:
    """Strictly increasing times from those of the frames, which may be missing, repeated or set back."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self.start_again()

    def start_again(self, last_s: float | None = None) -> None:
        """Forget what was; or continue after a time that needed no mending."""
        self._last_s, self._shift_s = last_s, 0.0

    def time_s(self, stamp_s: float | None) -> float:
        """The time of the next frame, whose own stamp is seconds since the first frame or None."""
        if self._last_s is None:
            self._last_s = 0.0
            return 0.0
        moment_s = self._last_s + self._step_s if stamp_s is None else stamp_s + self._shift_s
        if moment_s <= self._last_s - _CLOCK_RESET_S:
            self._shift_s += self._last_s + self._step_s - moment_s
            moment_s = self._last_s + self._step_s
        elif moment_s <= self._last_s:
            moment_s = self._last_s + self._step_s / 2
        self._last_s = moment_s
        return moment_s


class Painter:
    """Turns decoded frames into upright RGB images, all of the first one's size.

    Transparent pixels lie over white, as in `read_image`. Colors follow the file's matrix and range; a file that
    names no matrix is taken as BT.601, swscale's default.
    """

    def __init__(self, first: VideoFrame, most_side: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        swapped = _orientation(first)[0]
        self.size_hw = (first.width, first.height) if swapped else (first.height, first.width)
        shrink = min(1.0, most_side / max(self.size_hw)) if most_side else 1.0
        self._height, self._width = (max(1, round(side * shrink)) for side in self.size_hw)

    def paint(self, frame: VideoFrame) -> np.ndarray:
        """The frame's pixels (H, W, 3) uint8 RGB."""
        swapped, across, down = _orientation(frame)
        height, width = (self._width, self._height) if swapped else (self._height, self._width)
        has_alpha = any(component.is_alpha for component in frame.format.components)
        pixels = "rgba" if has_alpha else "rgb24"
        image: Any = self._reformatter.reformat(
            frame,
            width,
            height,
            pixels,
            src_colorspace=frame.colorspace,  # before av 17 the frame's own counted only when told
            dst_colorspace=_BT601,
            src_color_range=frame.color_range,
        ).to_ndarray()
        if has_alpha:
            image = _over_white(image)
        if swapped:
            image = image.swapaxes(0, 1)
        return np.ascontiguousarray(image[::down, ::across])


def _over_white(image: np.ndarray) -> np.ndarray:
    alpha = image[:, :, 3:].astype(np.uint16)
    return ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _orientation(frame: VideoFrame) -> tuple[bool, int, int]:
    """Whether rows and columns change places, then the steps (1 or -1) across and down that make it upright.

    Source:
        FFmpeg's libavutil/display.h: x' = a x + c y, y' = b x + d y, with a, b, u, c, d first in the matrix.
    """
    side_data: Any = frame.side_data
    try:
        matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), dtype=np.int32)
    except KeyError:
        return False, 1, 1
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    swapped = abs(b) > abs(a)
    across, down = (c, b) if swapped else (a, d)
    return swapped, -1 if across < 0 else 1, -1 if down < 0 else 1


class ContainerFrames:
    """The frames of a file, a network stream or a camera; a file is held open, one frame at a time in memory."""

    def __init__(self, place: Place, *, threads: int, most_side: int | None, timeout_s: float) -> None:
        self._place, self._threads, self._timeout_s = place, threads, timeout_s
        self._open()
        try:
            number, frame = next(self._raw, (0, None))
            if frame is None:
                raise VideoReadError(f"{place.name} has no frame that can be decoded.")
            self._raw = chain([(number, frame)], self._raw)
            self._first_stamp = _stamp(frame) or 0
            self._painter = Painter(frame, most_side)
            self.info = self._describe()
        except BaseException:
            self.close()
            raise
        self._clock = FrameClock(self._step_s)

    def _open(self) -> None:
        self._container, self._stream = open_place(
            self._place, threads=self._threads, timeout_s=self._timeout_s
        )
        self._tick = self._stream.time_base or Fraction(1, 1000)
        self._is_indexed = self._place.kind != "camera" and self._container.format.name in _INDEXED
        self._rewind()

    def _rewind(self) -> None:
        """Decode from where the container stands."""
        self.broken, self.is_truncated, self._number_shift, self._end_s = 0, False, 0, None
        self._raw: Iterator[tuple[int, VideoFrame]] = self._decoded()

    def _describe(self) -> VideoInfo:
        rate = self._stream.average_rate or self._stream.guessed_rate
        fps = float(rate) if rate else None
        duration_s = self._duration_s()
        self._step_s = 1 / fps if fps else _DEFAULT_STEP_S
        estimate = round(duration_s * fps) if duration_s and fps else None
        return VideoInfo(
            source=self._place.name,
            size_hw=self._painter.size_hw,
            fps=fps,
            duration_s=duration_s,
            frames=self._stream.frames or estimate,
            has_audio=bool(self._container.streams.audio),
            is_live=self._place.kind == "camera" or (self._place.kind == "stream" and duration_s is None),
        )

    def _duration_s(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._tick)
        return self._container.duration / 1e6 if self._container.duration else None

    def close(self) -> None:
        """Let go of the source."""
        self._raw = iter(())
        self._container.close()

    def __next__(self) -> DecodedFrame:
        for number, frame in self._raw:
            timestamp_s = self._clock.time_s(self._seconds(frame))
            image = self._painted(frame)
            if image is not None:
                return DecodedFrame(number + self._number_shift, timestamp_s, image)
            self.broken += 1
        raise StopIteration

    def skip_to(self, index: int, timestamp_s: float) -> None:
        """Continue after the frame of this number and time; see `VideoReader.skip_to`."""
        if self.info.is_live:
            raise InputError(f"{self._place.name} is live: it cannot be continued, only read from now on.")
        if not (self._seek(timestamp_s) and self._drop_to_time(index, timestamp_s)):
            self._start_again()
            self._drop_to_number(index)
        self.broken = 0

    def images_at(self, moments_s: Iterable[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        """What is shown at each moment, in time order; see `frames_at`."""
        shown, following = None, next(self._stamped(), None)
        for moment_s in sorted(moments_s):
            if following and moment_s - following[0] > _LEAP_S and self._is_indexed:
                if not self._seek(moment_s):
                    self._start_again()
                    self._is_indexed = False
                shown, following = None, next(self._stamped(), None)
            while following and following[0] <= moment_s + self._tolerance_s:
                shown, following = following, next(self._stamped(), None)
            if shown is None or (following is None and moment_s > shown[0] + self._step_s + 1e-6):
                yield moment_s, None
            else:
                yield moment_s, self._painted(shown[1])

    def _painted(self, frame: VideoFrame) -> np.ndarray | None:
        av = load_av("reading video")
        try:
            return self._painter.paint(frame)
        except (av.FFmpegError, ValueError):
            return None

    def _stamped(self) -> Iterator[tuple[float, VideoFrame]]:
        for _, frame in self._raw:
            yield self._clock.time_s(self._seconds(frame)), frame

    def _start_again(self) -> None:
        self._container.close()
        self._open()
        self._clock.start_again()

    def _seek(self, timestamp_s: float) -> bool:
        """Stand at a keyframe at or before a time; False, standing anywhere, when this cannot be done exactly."""
        av = load_av("reading video")
        for margin_s in _SEEK_MARGINS_S if self._is_indexed else ():
            target = self._first_stamp + max(0, round((timestamp_s - margin_s) / self._tick))
            try:
                self._container.seek(target, stream=self._stream)
            except av.FFmpegError:
                return False
            self._rewind()
            number, frame = next(self._raw, (0, None))
            seconds = None if frame is None else self._seconds(frame)
            if frame is None or not frame.key_frame or seconds is None:
                continue
            if seconds <= timestamp_s + self._tolerance_s:
                self._raw = chain([(number, frame)], self._raw)
                self._clock.start_again(seconds - self._step_s)
                return True
        return False

    @property
    def _tolerance_s(self) -> float:
        return max(float(self._tick) * 0.49, 1.1e-6)  # a time may come from a record, rounded to 6 places

    def _drop_to_time(self, index: int, timestamp_s: float) -> bool:
        for number, frame in self._raw:
            seconds = self._seconds(frame)
            if seconds is None or seconds > timestamp_s + self._tolerance_s:
                return False
            if seconds >= timestamp_s - self._tolerance_s:
                self._number_shift = index - number
                self._clock.start_again(seconds)
                return True
        return False

    def _drop_to_number(self, index: int) -> None:
        for number, frame in self._raw:
            if number > index:
                self._raw = chain([(number, frame)], self._raw)
                return
            self._clock.time_s(self._seconds(frame))

    def _seconds(self, frame: VideoFrame) -> float | None:
        """Seconds since the first frame, as the file has it."""
        stamp = _stamp(frame)
        return None if stamp is None else float((stamp - self._first_stamp) * self._tick)

    def _decoded(self) -> Iterator[tuple[int, VideoFrame]]:
        """Frames as libav gives them, numbered; broken ones take a number too."""
        av = load_av("reading video")
        number = 0
        for packet in self._packets():
            try:
                frames: list[VideoFrame] = self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                continue
            except (av.FFmpegError, ValueError):
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
        """The packets of the images, then None; reading goes on behind a break where it can."""
        av = load_av("reading video")
        failures = 0
        while failures < _BROKEN_READS:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        failures = 0
                        self._note_end(packet)
                        yield packet
                break
            except av.error.BlockingIOError:  # a camera of macOS has no frame yet
                time.sleep(_CAMERA_PAUSE_S)
            except (av.FFmpegError, ValueError):
                failures += 1
                self.is_truncated = True
                if self._place.kind != "file":
                    break
        yield None

    def _note_end(self, packet: Packet) -> None:
        if packet.pts is not None:
            end_s = float((packet.pts + (packet.duration or 0)) * self._tick)
            self._end_s = max(end_s, self._end_s or end_s)

    def _ended_early(self) -> bool:
        """Whether the file promised a later end than it had."""
        if self._place.kind == "file" and self._container.format.name == _INDEXED[1]:
            return is_cut_mp4(self._place.url.removeprefix("file:"))
        promised_s = self._promised_end_s()
        if promised_s is None or self._end_s is None or self._place.kind == "camera":
            return False
        return self._end_s < promised_s - max(0.5, 3 * self._step_s)

    def _promised_end_s(self) -> float | None:
        """When the images should end on the file's own clock; Matroska says it in a tag of the stream."""
        tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self._stream.metadata.get("DURATION", ""))
        if tag:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        if not self._stream.duration:
            return None
        return float((self._stream.duration + (self._stream.start_time or 0)) * self._tick)


def _stamp(frame: VideoFrame) -> int | None:
    return frame.dts if frame.pts is None else frame.pts


def first_stamp_s(place: Place) -> float:
    """The time of a file's first frame on the file's own clock, which its sound shares, in seconds."""
    frames = ContainerFrames(place, threads=1, most_side=None, timeout_s=10.0)
    frames.close()
    return float(frames._first_stamp * frames._tick)
