"""Segments of a video being written: cut to resume a run, and joined with audio into one MP4.

An MP4 is unplayable until it is closed, so a kill would lose all of it. Segments limit the loss to a few seconds of
work. The alternative, rendering the copy from the rows after the analysis, would decode files twice and cannot work for
cameras and network streams, which cannot be read a second time.

A segment is a NUT file without B-frames: it is readable up to where a kill left it, with exact times, and it can be cut
after any frame. The open segment is named `.open.nut`; its last packet may be incomplete.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.atomic import open_atomic
from mien.av_streams import decodable_audio, first_frame_s, load_av
from mien.errors import InputError
from mien.video.io.audio import add_audio

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

TIME_BASE = Fraction(1, 60000)
"""Unit of the timestamps: exact for the usual frame rates, and near the finest one that MPEG-4 part 2 allows."""

_OPEN = ".open"
_DEFAULT_DURATION = round(Fraction(1, 25) / TIME_BASE)


def list_segments(path: Path) -> list[Path]:
    """Return the segments of a video in order."""
    # In reverse, so that a finished segment replaces the open one of the same number.
    segments = {_number(segment): segment for segment in sorted(_all_files(path), reverse=True)}
    return [segments[number] for number in sorted(segments)]


def remove_segments(path: Path) -> None:
    """Remove the segments of a video and what a kill left of them."""
    for segment in _all_files(path):
        segment.unlink()


def _all_files(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{glob.escape(path.name)}.segment-*.nut"))


def _number(segment: Path) -> int:
    return int(segment.name.removesuffix(".nut").removesuffix(_OPEN).rsplit("-", 1)[1])


def next_segment(path: Path) -> Path:
    """Return the file name of a new segment after all others."""
    number = max(map(_number, _all_files(path)), default=0) + 1
    return path.with_name(f"{path.name}.segment-{number:04d}{_OPEN}.nut")


def finished(segment: Path) -> Path:
    """Return the file name of a segment once it is complete."""
    return segment.with_name(segment.name.removesuffix(".nut").removesuffix(_OPEN) + ".nut")


def cut_segments(path: Path, at_s: float, size_hw: tuple[int, int]) -> None:
    """Drop the images at or after a time.

    Raises:
        InputError: when the images of the segments have another size.
    """
    limit = math.ceil(at_s / TIME_BASE - Fraction(1, 2))
    for segment in list_segments(path):
        with closing(_packets(segment)) as packets:
            first = next(packets, None)
            if first is not None:
                _check_size(segment, first.stream, size_hw)
            times = [packet.pts for packet in (first, *packets) if packet is not None]
        if not times or times[0] >= limit:
            segment.unlink()
        elif times[-1] >= limit or segment != finished(segment):
            _cut_segment(segment, limit)


def _check_size(segment: Path, stream: VideoStream, size_hw: tuple[int, int]) -> None:
    if (stream.height, stream.width) != size_hw:
        raise InputError(
            f"{segment} holds images of {stream.width} x {stream.height}, not {size_hw[1]} x {size_hw[0]}: "
            "it belongs to another video. Remove it, or write elsewhere."
        )


def _cut_segment(segment: Path, limit: int) -> None:
    av = load_av("writing video", "video")
    with ExitStack() as stack:
        # Left last: Windows does not replace a file that is open for reading.
        file = stack.enter_context(open_atomic(finished(segment)))
        packets = stack.enter_context(closing(_packets(segment)))
        options = {"write_index": "0"}
        target = stack.enter_context(av.open(file, "w", format="nut", container_options=options))
        stream = None
        for packet in packets:
            if packet.pts >= limit:
                break
            stream = stream or target.add_stream_from_template(packet.stream)
            packet.stream = stream
            target.mux(packet)
    if segment != finished(segment):
        segment.unlink()


def _packets(segment: Path) -> Generator[Any, None, None]:
    """Yield the complete packets of a segment; its stream is open meanwhile."""
    av = load_av("writing video", "video")
    try:
        container = av.open(f"file:{segment}", format="nut")
    except av.FFmpegError:  # killed before the first image
        return
    with container:
        if not container.streams.video:
            return
        waiting = None
        try:
            for packet in container.demux(video=0):
                if packet.size and packet.pts is not None:
                    if waiting is not None:
                        yield waiting
                    waiting = packet
        except av.FFmpegError:  # killed within the header of a packet
            pass
        if waiting is not None and segment == finished(segment):
            yield waiting


def _all_packets(path: Path) -> Generator[Any, None, None]:
    for segment in list_segments(path):
        yield from _packets(segment)


def join_segments(path: Path, audio_from: Path | None, *, keep: bool = False) -> str | None:
    """Join the segments into the video, atomically, and remove them unless they are kept to resume later.

    Returns:
        "copied" or "encoded" audio, or None without readable audio.
    """
    av = load_av("writing video", "video")
    audio = None
    with closing(_all_packets(path)) as packets:
        if (first := next(packets, None)) is not None:
            try:
                audio = _write_joined(path, first.stream, audio_from)
            except av.FFmpegError as error:
                if audio_from is None or isinstance(error, OSError):
                    raise
                _write_joined(path, first.stream, None)
    if not keep:
        remove_segments(path)
    return audio


def _write_joined(path: Path, template: VideoStream, audio_from: Path | None) -> str | None:
    av = load_av("writing video", "video")
    options = {"movie_timescale": str(TIME_BASE.denominator)}
    with ExitStack() as stack:
        file = stack.enter_context(open_atomic(path))
        target = stack.enter_context(av.open(file, "w", format="mp4", container_options=options))
        stream = target.add_stream_from_template(template)
        mode = None
        audio: Iterator[Packet] = iter(())
        if audio_from is not None:
            source = stack.enter_context(av.open(f"file:{audio_from}", metadata_errors="replace"))
            if (sound := decodable_audio(source)) is not None:
                mode, audio = add_audio(source, sound, target, _video_start_s(audio_from))
        _mux(target, _timed_packets(path, stream), audio)
    return mode


def _video_start_s(file: Path) -> float:
    """Return the time of the first frame of a file on its clock, 0 without a video."""
    av = load_av("writing video", "video")
    with av.open(f"file:{file}", metadata_errors="replace") as container:
        return first_frame_s(container) or 0.0


def _timed_packets(path: Path, stream: VideoStream) -> Iterator[Packet]:
    """Yield the packets of all segments with their durations, for a stream of the joined video."""
    waiting = None
    duration = _DEFAULT_DURATION
    with closing(_all_packets(path)) as packets:
        for packet in packets:
            packet.stream = stream
            packet.dts = packet.pts
            if waiting is not None:
                duration = packet.pts - waiting.pts
                waiting.duration = duration
                yield waiting
            waiting = packet
    if waiting is not None:
        waiting.duration = duration
        yield waiting


def _mux(target: OutputContainer, video: Iterator[Packet], audio: Iterator[Packet]) -> None:
    """Write packets in time order, those of the audio up to the end of the video."""
    end_s = 0.0
    sound = next(audio, None)
    for packet in video:
        start_s = _time_s(packet)
        end_s = start_s + float((packet.duration or 0) * packet.time_base)
        while sound is not None and _time_s(sound) < start_s:
            target.mux(sound)
            sound = next(audio, None)
        target.mux(packet)
    while sound is not None and _time_s(sound) < end_s:
        target.mux(sound)
        sound = next(audio, None)


def _time_s(packet: Packet) -> float:
    return float((packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base)
