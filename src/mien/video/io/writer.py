"""Video writer: annotated images and the audio of their source, in segments that survive a kill."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mien.av_streams import load_av
from mien.errors import InputError
from mien.imaging import check_image
from mien.video.io.segments import TIME_BASE, cut_segments, finished, join_segments, next_segment, remove_segments
from mien.video.io.sources import resolve_source

if TYPE_CHECKING:
    from av.container import OutputContainer

SUFFIXES = (".m4v", ".mov", ".mp4")
"""Suffixes of a video file."""

_ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""In order of preference."""
_KEYFRAME_INTERVAL = 60
_BT709 = 1
"""Number of the matrix, the primaries and the transfer function."""
_LIMITED_RANGE = 1


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes timed images as H.264 into an MP4, with the audio of another file.

    Until it is closed, the images are in segments beside the target (`annotated.mp4.segment-0001.nut`), each readable
    up to where a kill left it. Closing joins them with the audio into `path`, without encoding again. A block that ends
    with an exception leaves the segments, to continue with `resume_at_s`.

    Args:
        path: the target, named .mp4.
        size_hw: height and width of the images; an odd side is padded by repeating its last pixels.
        audio_from: a file with the audio to include up to the end of the images. Its first image is at time 0; without
            images, so is the start of its clock.
        resume_at_s: keep existing segments before this time; by default they are removed.
        crf: quality of H.264, from 0 (lossless) to 51.
        threads: for encoding; 0 uses all cores.

    Attributes:
        audio: "copied" or "encoded" after closing; None without audio.

    Raises:
        InputError: when an argument is out of range, or the segments belong to a video of another size.
        VideoReadError: when the file `audio_from` is missing.
        MissingExtraError: when PyAV is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size_hw: tuple[int, int],
        audio_from: str | Path | None = None,
        resume_at_s: float | None = None,
        crf: int = 20,
        threads: int = 0,
    ) -> None:
        av = load_av("writing video", "video")
        from av.video.reformatter import VideoReformatter

        self.path = Path(path)
        self.audio: str | None = None
        if self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: unknown video format; expected {self.path.stem or 'video'}.mp4.")
        if min(size_hw) < 2:
            raise InputError(f"images of {size_hw[1]} x {size_hw[0]} pixels; expected at least 2 x 2.")
        if audio_from is not None:
            resolve_source(Path(audio_from))
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._size_hw = size_hw
        self._even_hw = size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2
        self._crf = crf
        self._threads = threads
        self._encoder = _find_encoder(av)
        self._reformatter = VideoReformatter()
        self._container: OutputContainer | None = None
        self._segment = Path()
        self._stream = cast(Any, None)
        self._is_closed = False
        if resume_at_s is None:
            remove_segments(self.path)
            self._last_tick = -1
        else:
            cut_segments(self.path, resume_at_s, self._even_hw)
            self._last_tick = round(resume_at_s / TIME_BASE) - 1

    def add(self, image: np.ndarray, timestamp_s: float) -> None:
        """Add an image (H, W, 3) uint8 RGB that is shown from this time on.

        Raises:
            InputError: when its size differs, or its time is not later than that of the previous image.
        """
        if check_image(image).shape[:2] != self._size_hw:
            raise InputError(f"{self.path}: expected images {self._size_hw}, got {image.shape[:2]}.")
        tick = round(timestamp_s / TIME_BASE)
        if tick <= self._last_tick:
            raise InputError(f"{self.path}: the image at {timestamp_s} s is not later than the previous one.")
        if self._container is None:
            self._container = self._open_segment()
        self._last_tick = tick
        self._container.mux(self._stream.encode(self._frame(image, tick)))

    def _frame(self, image: np.ndarray, tick: int) -> Any:
        from av import VideoFrame
        from av.video.reformatter import ColorRange, Colorspace

        height, width = self._even_hw
        if image.shape[:2] != self._even_hw:
            padding = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
            image = np.pad(image, padding, mode="edge")
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601 if self._encoder == "mpeg4" else Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts = tick
        frame.time_base = TIME_BASE
        return frame

    def _open_segment(self) -> OutputContainer:
        if self._is_closed:
            raise InputError(f"{self.path} is closed: no image can be added.")
        av = load_av("writing video", "video")
        self._segment = next_segment(self.path)
        options = {"flush_packets": "1", "write_index": "0"}
        container = av.open(f"file:{self._segment}", "w", format="nut", container_options=options)
        stream: Any = container.add_stream(self._encoder, rate=25, options=self._encoder_options())
        stream.height, stream.width = self._even_hw
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.gop_size = _KEYFRAME_INTERVAL
        context.max_b_frames = 0
        context.thread_count = self._threads
        if self._encoder != "mpeg4":  # MPEG-4 part 2 has no such fields and is read as BT.601
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
        if self._encoder == "libopenh264":  # it has no constant quality
            context.bit_rate = 4 * self._even_hw[0] * self._even_hw[1]
        self._stream = stream
        return container

    def _encoder_options(self) -> dict[str, str]:
        if self._encoder == "libx264":
            return {"crf": str(self._crf), "preset": "veryfast"}
        return {"flags": "+qscale", "global_quality": "354"} if self._encoder == "mpeg4" else {}

    def finish_segment(self) -> None:
        """Write all images so far to the disk; the next ones go into another segment."""
        container = self._container
        self._container = None
        if container is not None:
            with container:
                container.mux(self._stream.encode(None))
            self._segment.replace(finished(self._segment))

    def close(self, *, keep_segments: bool = False) -> None:
        """Join the segments with the audio into the target; without images no target is written.

        Args:
            keep_segments: leave them, to resume later.
        """
        if not self._is_closed:
            self.suspend()
            self.audio = join_segments(self.path, self._audio_from, keep=keep_segments)

    def suspend(self) -> None:
        """Finish the open segment and leave all segments, to resume later."""
        self._is_closed = True
        self.finish_segment()

    def __exit__(self, error_type: object, *error: object) -> None:
        if error_type is None:
            self.close()
        else:
            self.suspend()


def _find_encoder(av: Any) -> str:
    for name in _ENCODERS:
        with suppress(ValueError):
            av.codec.Codec(name, "w")
            return name
    raise InputError(f"this build of libav cannot write video; expected one of {', '.join(_ENCODERS)}.")
