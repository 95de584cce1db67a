"""Video with the sound of its source, written in parts, so that a kill loses its last moments and not the rest."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from mien.errors import InputError
from mien.imaging import check_image
from mien.video.io.segments import (
    TIME_BASE,
    all_parts,
    cut_parts,
    finished,
    join_parts,
    next_part,
    written_until_s,
)
from mien.video.io.sources import load_av, locate

if TYPE_CHECKING:
    from av.container import OutputContainer

__all__ = ["VideoWriter", "written_until_s"]

SUFFIXES = (".m4v", ".mov", ".mp4")

_ENCODERS = ("libx264", "libopenh264", "mpeg4")  # the first that this build of libav has
_KEYFRAME_EVERY = 60
_BT709 = 1  # the same number for matrix, primaries and transfer
_LIMITED_RANGE = 1


class VideoWriter:
    """Writes images at their times as H.264 in an MP4, with the sound of another file.

    Until it is closed the images are in parts beside the target (`annotated.mp4.part-0001.nut`), each readable up to
    where a kill left it. Closing joins them with the sound into `path`, copied and not decoded again.
    A block that ends with an exception leaves the parts, to go on from `written_until_s(path)` by `resume_at_s`.

    Args:
        path: the target, named .mp4.
        size_hw: height and width of the images; an odd side is made even by repeating its last pixels.
        audio_from: a file whose sound is taken over up to the end of the images: its first image is at time 0.
        resume_at_s: go on with the parts that are there, without what they hold at or after this time. Unless it is
            told, older parts are removed.
        crf: quality of H.264, from 0 (lossless) to 51.
        threads: for encoding; 0 is as many as there are cores.

    Attributes:
        sound: after closing, what became of the sound: "copied", "encoded", or None without any.

    Raises:
        InputError: when an argument makes no sense, or the parts belong to a video of another size.
        VideoReadError: when there is no file `audio_from`.
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
        av = load_av("writing video")
        from av.video.reformatter import VideoReformatter

        self.path, self.sound = Path(path), None
        if self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: video is written as MP4, so name it {self.path.stem or 'video'}.mp4.")
        if min(size_hw) < 2:
            raise InputError(f"a video needs at least 2 x 2 pixels, got {size_hw[1]} x {size_hw[0]}.")
        if audio_from is not None:
            locate(Path(audio_from))
        self._audio_from = None if audio_from is None else Path(audio_from)
        self._size_hw, self._crf, self._threads = size_hw, crf, threads
        self._even_hw = size_hw[0] + size_hw[0] % 2, size_hw[1] + size_hw[1] % 2
        self._encoder = _encoder(av)
        self._reformatter = VideoReformatter()
        self._last_tick = -1
        self._part: OutputContainer | None = None
        self._part_path, self._stream = Path(), cast(Any, None)
        self._is_closed = False
        self._take_over(resume_at_s)

    def _take_over(self, resume_at_s: float | None) -> None:
        if resume_at_s is not None:
            cut_parts(self.path, resume_at_s, self._even_hw)
            self._last_tick = round(resume_at_s / TIME_BASE) - 1
            return
        for part in all_parts(self.path):
            part.unlink()

    def add(self, image: np.ndarray, timestamp_s: float) -> None:
        """Show an image (H, W, 3) uint8 RGB from this time on.

        Raises:
            InputError: when its size is not the video's, or its time not after the one before.
        """
        if check_image(image).shape[:2] != self._size_hw:
            raise InputError(f"{self.path}: expected images {self._size_hw}, got {image.shape[:2]}.")
        tick = round(timestamp_s / TIME_BASE)
        if tick <= self._last_tick:
            raise InputError(f"{self.path}: the image at {timestamp_s} s is not later than the one before.")
        if self._part is None:
            self._part = self._open_part()
        self._last_tick = tick
        self._part.mux(self._stream.encode(self._frame(image, tick)))

    def _frame(self, image: np.ndarray, tick: int) -> Any:
        from av import VideoFrame
        from av.video.reformatter import ColorRange, Colorspace

        height, width = self._even_hw
        if image.shape[:2] != self._even_hw:
            missing = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
            image = np.pad(image, missing, mode="edge")
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601 if self._encoder == "mpeg4" else Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts, frame.time_base = tick, TIME_BASE
        return frame

    def _open_part(self) -> OutputContainer:
        if self._is_closed:
            raise InputError(f"{self.path} is closed: nothing can be added.")
        av = load_av("writing video")
        self._part_path = next_part(self.path)
        options = {"flush_packets": "1", "write_index": "0"}
        part = av.open(f"file:{self._part_path}", "w", format="nut", container_options=options)
        stream: Any = part.add_stream(self._encoder, rate=25, options=self._encoder_options())
        stream.height, stream.width, stream.pix_fmt = *self._even_hw, "yuv420p"
        context = stream.codec_context
        context.time_base, context.gop_size, context.max_b_frames = TIME_BASE, _KEYFRAME_EVERY, 0
        context.thread_count = self._threads
        if self._encoder != "mpeg4":  # which cannot say it, and is taken as BT.601
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
        if self._encoder == "libopenh264":  # it has no constant quality
            context.bit_rate = 4 * self._even_hw[0] * self._even_hw[1]
        self._stream = stream
        return part

    def _encoder_options(self) -> dict[str, str]:
        if self._encoder == "libx264":
            return {"crf": str(self._crf), "preset": "veryfast"}
        return {"flags": "+qscale", "global_quality": "354"} if self._encoder == "mpeg4" else {}

    def close(self) -> None:
        """Join the parts with the sound into the target; without a single image there is no target."""
        if not self._is_closed:
            self.stop()
            self.sound = join_parts(self.path, self._audio_from)

    def mark(self) -> None:
        """Bring all images so far to the disk: what follows goes into another part."""
        part, self._part = self._part, None
        if part is not None:
            with part:
                part.mux(self._stream.encode(None))
            self._part_path.replace(finished(self._part_path))

    def stop(self) -> None:
        """Finish the part that is being written, and leave all parts as they are, to go on later."""
        self._is_closed = True
        self.mark()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.stop()


def _encoder(av: Any) -> str:
    for name in _ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except ValueError:
            continue
        return name
    raise InputError(f"this build of libav can write no video: it has none of {', '.join(_ENCODERS)}.")
