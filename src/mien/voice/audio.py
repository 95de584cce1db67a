"""Audio files and sound tracks of videos as mono float32 at 16 kHz, decoded with PyAV in blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeAlias

import numpy as np

from mien.addresses import path_problem
from mien.errors import AudioReadError, InputError, MissingExtraError
from mien.image_formats import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SAMPLE_RATE_HZ = 16000
"""Sample rate of all audio inside mien."""

AudioInput: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""Path of a file, its content, or an open binary file."""

BLOCK_S = 1.0
"""Maximum duration of a block in seconds."""
MAX_GAP_S = 0.1
"""Longest gap between timestamps that is not filled with silence."""
_MIN_MIXED_SHARE = 0.01
"""Minimum power of the mean of the channels relative to theirs; below it they cancel out."""
_ATTACHED_IMAGE = 0x400
"""AV_DISPOSITION_ATTACHED_PIC of libav: the cover of a piece of music."""
MAX_SILENCE_S = 3600.0
"""Longest gap that is filled with silence; a longer one is an error of the file."""


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """Properties of a sound track, known before it is decoded.

    Attributes:
        source: name for messages.
        codec: name of the codec, such as "pcm_s16le" or "aac".
        sample_rate_hz: of the file.
        channels: of the file; they are averaged, or the first one is taken where they cancel out.
        start_s: time of the first sample on the clock of the file, where a video has its own start.
        offset_s: time of the first sample after the start of the video in the same file; 0 without a video.
        duration_s: as the file states it; None when it does not.
    """

    source: str
    codec: str
    sample_rate_hz: int
    channels: int
    start_s: float
    offset_s: float
    duration_s: float | None


class AudioReader:
    """Decoder of the first sound track of a file; a context manager and an iterator of blocks.

    Blocks are (N,) float32 with N of at most `BLOCK_S`, in -1..1. Broken packets are skipped and counted; gaps between
    timestamps become silence, so that time in the samples is time in the file.

    Args:
        source: path, content, or open binary file of an audio or video file.

    Attributes:
        info: properties of the sound track.
        broken: number of packets that could not be decoded so far.

    Raises:
        AudioReadError: when the file is missing, empty, not audio, or has no sound track; on iteration, when none of
            it can be decoded.
        InputError: when the source is of another type.
        MissingExtraError: when PyAV is not installed.
    """

    def __init__(self, source: AudioInput) -> None:
        self._av = _load_av()
        name, target = _resolve(source)
        try:
            self._container: InputContainer = self._av.open(target, metadata_errors="replace")
        except (self._av.FFmpegError, ValueError) as error:
            raise AudioReadError(_open_error(name, error)) from None
        try:
            self._stream = _audio_stream(self._container, name)
            self.info = _describe(self._stream, name, _video_start_s(self._container))
        except BaseException:
            self._container.close()
            raise
        self.broken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        step = round(BLOCK_S * SAMPLE_RATE_HZ)
        is_empty = True
        pending: list[np.ndarray] = []
        for samples in self._resampled():
            pending.append(samples)
            if sum(map(len, pending)) >= step:
                joined = np.concatenate(pending)
                whole = len(joined) // step * step
                yield from joined[:whole].reshape(-1, step)
                is_empty, pending = False, [joined[whole:]]
        if any(map(len, pending)):
            yield np.concatenate(pending)
        elif is_empty:
            raise AudioReadError(f"{self.info.source}: none of its sound ({self.info.codec}) can be decoded.")

    def _resampled(self) -> Iterator[np.ndarray]:
        """Yield the decoded audio at `SAMPLE_RATE_HZ`; the resampler starts again after a change of the format."""
        resampler, form = None, None
        position = 0
        for frame in self._frames():
            current = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or current != form:
                resampler = self._av.AudioResampler(format="fltp", layout=frame.layout, rate=SAMPLE_RATE_HZ)
                form = current
            missing = self._missing_samples(frame, position)
            while missing > 0:
                silence = np.zeros(min(missing, SAMPLE_RATE_HZ), dtype=np.float32)
                missing -= len(silence)
                position += len(silence)
                yield silence
            frame.pts = None
            for samples in map(_to_mono, resampler.resample(frame)):
                position += len(samples)
                yield samples
        if resampler is not None:
            yield from map(_to_mono, resampler.resample(None))

    def _missing_samples(self, frame: AudioFrame, position: int) -> int:
        """Return the number of samples between the end of the audio so far and the timestamp of a frame."""
        if frame.pts is None or frame.time_base is None:
            return 0
        gap_s = float(frame.pts * frame.time_base) - self.info.start_s - position / SAMPLE_RATE_HZ
        return round(gap_s * SAMPLE_RATE_HZ) if MAX_GAP_S < gap_s < MAX_SILENCE_S else 0

    def _frames(self) -> Iterator[AudioFrame]:
        """Yield the decodable frames."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, self._av.error.EOFError):
                return
            except self._av.FFmpegError:
                # the container is damaged from here on
                self.broken += 1
                return
            try:
                frames = packet.decode()
            except self._av.error.EOFError:
                return
            except self._av.FFmpegError:
                self.broken += 1
                continue
            yield from (frame for frame in frames if frame.samples)


def read_audio(source: AudioInput) -> np.ndarray:
    """Return the whole first sound track of a file as (N,) float32 mono at 16 kHz; see `AudioReader`."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader))


def _load_av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtraError("reading audio", "voice") from None
    return av


def _resolve(source: AudioInput) -> tuple[str, Any]:
    """Return the name of a source for messages, and what PyAV opens."""
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    if isinstance(source, io.TextIOBase) or not (hasattr(source, "read") or isinstance(source, str | os.PathLike)):
        raise InputError(f"{type(source).__name__} is not audio; expected a path, bytes or an open binary file.")
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else "the audio"
        if source.seekable() and not source.seek(0, os.SEEK_END):
            raise AudioReadError(f"{name} is empty (0 bytes).")
        source.seek(0)
        return name, source
    path = Path(source)
    try:
        is_file, size = path.is_file(), path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        if not os.fspath(source) or path_problem(source):
            raise AudioReadError(str(path_problem(source))) from None
        raise AudioReadError(f"{path}: {(getattr(error, 'strerror', None) or str(error)).lower()}.") from None
    if not is_file:
        raise AudioReadError(f"{path} is not a file; expected an audio or video file.")
    if not size:
        raise AudioReadError(f"{path} is empty (0 bytes).")
    return str(path), f"file:{path}"


def _audio_stream(container: InputContainer, name: str) -> AudioStream:
    """Return the first sound track that can be decoded."""
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.codec is not None:
            return stream
    if container.streams.audio:
        raise AudioReadError(f"{name}: this build of libav has no decoder for its sound.")
    is_image = Path(name).suffix.lower() in IMAGE_SUFFIXES
    content = "an image" if is_image else "a video without sound" if container.streams.video else "not audio"
    raise AudioReadError(f"{name} is {content}; expected an audio file, or a video with sound.")


def _video_start_s(container: InputContainer) -> float | None:
    """Return the start of the first video of a file on its clock; None without one, or where it is not stated."""
    for stream in container.streams.video:
        is_cover = int(stream.disposition) & _ATTACHED_IMAGE
        if not is_cover and stream.start_time is not None and stream.time_base is not None:
            return float(stream.start_time * stream.time_base)
    return None


def _describe(stream: AudioStream, name: str, video_start_s: float | None) -> AudioInfo:
    base = stream.time_base
    start_s = float(stream.start_time * base) if stream.start_time is not None and base is not None else 0.0
    return AudioInfo(
        source=name,
        codec=stream.codec_context.name,
        sample_rate_hz=stream.codec_context.sample_rate or 0,
        channels=stream.codec_context.channels or 0,
        start_s=start_s,
        offset_s=0.0 if video_start_s is None else start_s - video_start_s,
        duration_s=float(stream.duration * base) if stream.duration and base is not None else None,
    )


def _to_mono(frame: AudioFrame) -> np.ndarray:
    """Return the mean of the channels of a resampled frame, (N,) float32; values that are not finite become 0.

    The first channel is returned where the channels cancel out, as with a microphone of inverted polarity.
    """
    channels = np.nan_to_num(frame.to_ndarray(), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    mean = channels.mean(axis=0)
    return channels[0] if np.mean(mean**2) < _MIN_MIXED_SHARE * np.mean(channels**2) else mean


def _open_error(name: str, error: Exception) -> str:
    problem = (getattr(error, "strerror", None) or str(error)).lower()
    if isinstance(error, PermissionError):
        return f"{name}: {problem}."
    return f"{name} is not a readable audio or video file."
