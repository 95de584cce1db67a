"""Audio files and sound tracks of videos as mono float32 at 16 kHz, decoded with PyAV in blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeAlias

import numpy as np

from mien.addresses import path_problem
from mien.av_streams import TEXT_FORMATS, audio_tracks, decodable_audio, decodable_video, first_frame_s, load_av
from mien.errors import AudioReadError, InputError, reason
from mien.media_formats import IMAGE_SUFFIXES
from mien.number_format import count
from mien.voice.stated_duration import stated_duration, truncated_wav_duration

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SAMPLE_RATE_HZ = 16000
"""Sample rate of all audio inside mien."""

AudioInput: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""Path of a file, its content, or an open binary file."""

BLOCK_S = 1.0
"""Maximum duration of a block in seconds."""
MAX_GAP_S = 0.1
"""Largest difference between timestamps and samples that is not corrected, in seconds, except before the first one."""
_MIN_MIXED_SHARE = 0.01
"""Minimum power of the mean of the channels relative to theirs; below it they cancel out."""
MAX_SILENCE_S = 3600.0
"""Longest gap that is filled with silence; a longer one is an error of the file."""
_CLOCK_RESET_S = 1.0
"""A step back of the timestamps by at least this much is a new clock; the samples of a smaller one are left out."""
_MAX_LEVEL = 2.0
"""Samples beyond it are clipped; lossy codecs exceed full scale by less."""
CLIPPED = 0.999
"""Absolute value from which a sample counts as clipped."""


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """Properties of a sound track, known before it is decoded.

    Attributes:
        source: name for messages.
        codec: name of the codec, such as "pcm_s16le" or "aac".
        sample_rate_hz: of the file.
        channels: of the file; they are averaged, or one is taken where they cancel out.
        tracks: number of sound tracks of the file that can be decoded.
        track: number of this one among them, from 1.
        start_s: time of the first sample on the clock of the file, where a video has its own start.
        offset_s: time of the first sample after the start of the video in the same file; 0 without a video.
        duration_s: as the file states it; None when it does not.
        exact_s: duration by a header that states it exactly, see `mien.voice.stated_duration`; otherwise None.
    """

    source: str
    codec: str
    sample_rate_hz: int
    channels: int
    tracks: int
    track: int
    start_s: float
    offset_s: float
    duration_s: float | None
    exact_s: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class AudioBlock:
    """Consecutive samples of a sound track.

    Attributes:
        samples: (N,) float32, the mean of the channels.
        is_clipped: (N,) bool, true where a channel is at full scale; the mean of the channels need not be.
    """

    samples: np.ndarray
    is_clipped: np.ndarray

    def part(self, start: int, stop: int | None = None) -> AudioBlock:
        """Return some of the samples."""
        return AudioBlock(samples=self.samples[start:stop], is_clipped=self.is_clipped[start:stop])


class AudioReader:
    """Decoder of a sound track of a file; a context manager and an iterator of blocks.

    Of several tracks it is the default one, see `mien.av_streams.decodable_audio`. Blocks are (N,) float32 with N of at
    most `BLOCK_S`, normally in -1..1; lossy codecs may exceed it, and values beyond -2..2 are clipped. Broken packets
    are skipped and counted; gaps between timestamps become silence and surplus samples are left out, so that time in
    the samples is time in the file.

    Args:
        source: path, content, or open binary file of an audio or video file.

    Attributes:
        info: properties of the sound track.
        broken: number of packets that could not be decoded so far.

    Raises:
        AudioReadError: when the file is missing, empty, not audio, or has no sound track; on iteration, when none of
            it can be decoded, or it cannot be converted.
        InputError: when the source is of another type, or an open file that cannot be read from its start.
        MissingExtraError: when PyAV is not installed.
    """

    def __init__(self, source: AudioInput) -> None:
        self._av = load_av("reading audio", "voice")
        self.broken = 0
        name, target = _resolve(source)
        wav_s = _truncated_wav_duration(name, target)
        self._container = self._open(name, target)
        try:
            self._stream = _audio_stream(self._container, name)
            video_start_s = None
            if decodable_video(self._container) is not None:
                video_start_s = first_frame_s(self._container)
                self._container.close()
                self._container = self._open(name, target)
                self._stream = _audio_stream(self._container, name)
            frames = self._frames()
            first = next(frames, None)
            self._decoded = chain([] if first is None else [first], frames)
            start_s = _stated_start_s(self._stream)
            if video_start_s is not None and first is not None and first.time is not None:
                # some formats only state the start of the whole file, which is that of the video
                start_s = first.time
            self.info = _describe(
                self._container,
                self._stream,
                source=name,
                start_s=start_s,
                offset_s=0.0 if video_start_s is None else start_s - video_start_s,
                exact_s=wav_s or stated_duration(self._container, self._stream, start_s),
            )
        except BaseException:
            self._container.close()
            raise

    def _open(self, name: str, target: Any) -> InputContainer:
        try:
            if not isinstance(target, str):
                target.seek(0)
            return self._av.open(target, metadata_errors="replace")
        except (self._av.FFmpegError, ValueError) as error:
            raise AudioReadError(_open_error(name, error)) from None

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
        return (block.samples for block in self.blocks())

    def blocks(self) -> Iterator[AudioBlock]:
        """Yield the blocks with their clipped samples."""
        step = round(BLOCK_S * SAMPLE_RATE_HZ)
        is_empty = True
        pending: list[AudioBlock] = []
        for block in self._resampled():
            pending.append(block)
            if sum(len(part.samples) for part in pending) >= step:
                joined = _join(pending)
                whole = len(joined.samples) // step * step
                yield from (joined.part(start, start + step) for start in range(0, whole, step))
                is_empty, pending = False, [joined.part(whole)]
        if any(len(part.samples) for part in pending):
            yield _join(pending)
        elif is_empty:
            raise AudioReadError(f"{self.info.source}: none of its sound ({self.info.codec}) can be decoded.")

    def _resampled(self) -> Iterator[AudioBlock]:
        """Yield the decoded audio at `SAMPLE_RATE_HZ`; the resampler starts again after a change of the format."""
        resampler, form = None, None
        position = surplus = 0
        for number, frame in enumerate(self._decoded):
            current = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or current != form:
                # packed samples: PyAV reads at most 8 planes
                resampler = self._av.AudioResampler(format="flt", layout=frame.layout, rate=SAMPLE_RATE_HZ)
                form = current
            missing = self._missing_samples(frame, position, is_first=number == 0)
            if missing:
                surplus = max(-missing, 0)
            for start in range(0, missing, SAMPLE_RATE_HZ):
                length = min(missing - start, SAMPLE_RATE_HZ)
                position += length
                yield AudioBlock(samples=np.zeros(length, dtype=np.float32), is_clipped=np.zeros(length, dtype=bool))
            for block in self._convert(resampler, frame):
                rest = block.part(surplus)
                surplus -= len(block.samples) - len(rest.samples)
                position += len(rest.samples)
                yield rest
        if resampler is not None:
            yield from self._convert(resampler, None)

    def _convert(self, resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioBlock]:
        """Return resampled blocks of a frame, or the last ones."""
        if frame is not None:
            frame.pts = None
        try:
            return [_mix(part) for part in resampler.resample(frame)]
        except (self._av.FFmpegError, ValueError, MemoryError):
            form = f"{count(self.info.channels, 'channel')}, {self.info.sample_rate_hz} Hz"
            hint = "Convert it to a stereo WAV file first."
            raise AudioReadError(f"{self.info.source}: its sound ({form}) cannot be converted. {hint}") from None

    def _missing_samples(self, frame: AudioFrame, position: int, *, is_first: bool) -> int:
        """Return the number of samples between the end of the audio so far and the timestamp of a frame.

        It is negative for surplus samples, and 0 for a difference that is not corrected.
        """
        if frame.pts is None or frame.time_base is None:
            return 0
        gap_s = float(frame.pts * frame.time_base) - self.info.start_s - position / SAMPLE_RATE_HZ
        is_gap = (0 if is_first else MAX_GAP_S) < gap_s < MAX_SILENCE_S
        is_surplus = -_CLOCK_RESET_S < gap_s < -MAX_GAP_S
        return round(gap_s * SAMPLE_RATE_HZ) if is_gap or is_surplus else 0

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
    """Return the whole sound track of a file as (N,) float32 mono at 16 kHz; see `AudioReader`."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader))


def _resolve(source: AudioInput) -> tuple[str, Any]:
    """Return the name of a source for messages, and what PyAV opens."""
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    if isinstance(source, io.TextIOBase) or not (hasattr(source, "read") or isinstance(source, str | os.PathLike)):
        raise InputError(f"{type(source).__name__} is not audio; expected a path, bytes or an open binary file.")
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else "the audio"
        try:
            is_empty = not source.seek(0, os.SEEK_END)
        except (AttributeError, OSError, ValueError) as error:
            problem = f"{name} cannot be read from its start: {reason(error)}"
            raise InputError(f"{problem}; pass a path, or its content as bytes.") from None
        if is_empty:
            raise AudioReadError(f"{name} is empty (0 bytes).")
        return name, source
    path = Path(source)
    try:
        is_file, size = path.is_file(), path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        if not os.fspath(source) or path_problem(source):
            raise AudioReadError(str(path_problem(source))) from None
        raise AudioReadError(f"{path}: {reason(error)}.") from None
    if not is_file:
        raise AudioReadError(f"{path} is not a file; expected an audio or video file.")
    if not size:
        raise AudioReadError(f"{path} is empty (0 bytes).")
    return str(path), f"file:{path}"


def _audio_stream(container: InputContainer, name: str) -> AudioStream:
    """Return the sound track to decode, or raise `AudioReadError`."""
    if (stream := decodable_audio(container)) is not None:
        return stream
    if container.streams.audio:
        raise AudioReadError(f"{name}: this build of libav has no decoder for its sound.")
    form = container.format.name
    content = "a video without sound" if container.streams.video else "not audio"
    if form in TEXT_FORMATS:
        content = "text"
    elif form == "image2" or form.endswith("_pipe") or Path(name).suffix.lower() in IMAGE_SUFFIXES:
        content = "an image"
    raise AudioReadError(f"{name} is {content}; expected an audio file, or a video with sound.")


def _stated_start_s(stream: AudioStream) -> float:
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _describe(
    container: InputContainer,
    stream: AudioStream,
    *,
    source: str,
    start_s: float,
    offset_s: float,
    exact_s: float | None,
) -> AudioInfo:
    tracks = [track.index for track in audio_tracks(container)]
    base = stream.time_base
    return AudioInfo(
        source=source,
        codec=stream.codec_context.name,
        sample_rate_hz=stream.codec_context.sample_rate or 0,
        channels=stream.codec_context.channels or 0,
        tracks=len(tracks),
        track=tracks.index(stream.index) + 1,
        start_s=start_s,
        offset_s=offset_s,
        duration_s=float(stream.duration * base) if stream.duration and base is not None else None,
        exact_s=exact_s,
    )


def _truncated_wav_duration(name: str, target: Any) -> float | None:
    """Return the duration of a truncated WAV file, given as PyAV opens it; an unreadable file is reported later."""
    try:
        if not isinstance(target, str):
            return truncated_wav_duration(target)
        with Path(name).open("rb") as file:
            return truncated_wav_duration(file)
    except OSError:
        return None


def _join(blocks: list[AudioBlock]) -> AudioBlock:
    return AudioBlock(
        samples=np.concatenate([block.samples for block in blocks]),
        is_clipped=np.concatenate([block.is_clipped for block in blocks]),
    )


def _mix(frame: AudioFrame) -> AudioBlock:
    """Return the mean of the channels of a resampled frame; values that are not finite become 0.

    One channel is returned where the channels cancel out, as with a microphone of inverted polarity: the first of those
    with at least half the power of the loudest.
    """
    channels = np.ascontiguousarray(frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T)
    channels = np.nan_to_num(channels, copy=False, nan=0.0, posinf=0.0, neginf=0.0).clip(-_MAX_LEVEL, _MAX_LEVEL)
    samples = channels.mean(axis=0)
    powers = channels.var(axis=1)
    if samples.var() < _MIN_MIXED_SHARE * powers.mean():
        samples = channels[np.argmax(powers >= powers.max() / 2)]
    return AudioBlock(samples=samples, is_clipped=np.abs(channels).max(axis=0) >= CLIPPED)


def _open_error(name: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{name}: {reason(error)}."
    return f"{name} is not a readable audio or video file."
