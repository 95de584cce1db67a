"""The parts in which a video is written, cut where writing goes on, and joined with the sound into one MP4.

A part is a NUT file of packets without B-frames: it can be read up to wherever a kill left it, its times are exact, and
any of its beginnings can be played. While it is written it is called `.open.nut`: its last packet may be incomplete.
"""

from __future__ import annotations

import glob
import heapq
import math
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.atomic import open_atomic
from mien.errors import InputError
from mien.video.io.decoder import first_stamp_s
from mien.video.io.sources import load_av, locate

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

TIME_BASE = Fraction(1, 60000)
"""The clock of written images: exact for the usual frame rates, and the finest that MPEG-4 part 2 allows is near."""

COPIED_SOUND = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "mp3float", "opus", "libopus"})
"""Sound that players expect in an MP4; all other is encoded as AAC."""

_OPEN = ".open"
_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_LEAD_IN_S = 0.1  # sound before the first image that stays, unheard, for the decoder to start on


def parts_of(path: Path) -> list[Path]:
    """The parts beside a target, in order."""
    parts = {
        _number(part): part for part in sorted(all_parts(path), reverse=True)
    }  # the finished one if both are
    return [parts[number] for number in sorted(parts)]


def all_parts(path: Path) -> list[Path]:
    """The parts and what a kill left of them, in no order."""
    return list(path.parent.glob(f"{glob.escape(path.name)}.part-*.nut"))


def _number(part: Path) -> int:
    return int(part.name.removesuffix(".nut").removesuffix(_OPEN).rsplit("-", 1)[1])


def next_part(path: Path) -> Path:
    """The name under which the part after all that are there is written."""
    number = max(map(_number, all_parts(path)), default=0) + 1
    return path.with_name(f"{path.name}.part-{number:04d}{_OPEN}.nut")


def finished(part: Path) -> Path:
    """The name of a part that is whole."""
    return part.with_name(part.name.removesuffix(".nut").removesuffix(_OPEN) + ".nut")


def written_until_s(path: Path) -> float | None:
    """The time of the last image that the parts of a stopped writing hold: where to go on; None without any.

    Images that were still in the encoder when the process was killed are not among them.
    """
    for part in reversed(parts_of(path)):
        last = _first_and_last(part)[1]
        if last is not None:
            return float(last * TIME_BASE)
    return None


def _first_and_last(part: Path) -> tuple[int | None, int | None]:
    """The times of a part's first and last image."""
    first = last = None
    for packet in _packets(part):
        first, last = packet.pts if first is None else first, packet.pts
    return first, last


def cut_parts(path: Path, at_s: float, size_hw: tuple[int, int]) -> None:
    """Drop what the parts hold at or after a time.

    Raises:
        InputError: when the parts' images have another size.
    """
    limit = math.ceil(at_s / TIME_BASE - Fraction(1, 2))
    for part in parts_of(path):
        _check_size(part, size_hw)
        first, last = _first_and_last(part)
        if first is None or last is None or first >= limit:
            part.unlink()
        elif last >= limit or part != finished(part):
            _cut_part(part, limit)


def _check_size(part: Path, size_hw: tuple[int, int]) -> None:
    container = _open_part(part)
    if container is None:
        return
    with container:
        stream = container.streams.video[0]
        if (stream.height, stream.width) != size_hw:
            raise InputError(
                f"{part} holds images of {stream.width} x {stream.height}, not {size_hw[1]} x {size_hw[0]}: "
                "it belongs to another video. Remove it, or write elsewhere."
            )


def _cut_part(part: Path, limit: int) -> None:
    av = load_av("writing video")
    source = _open_part(part)
    if source is None:
        return
    with (
        source,
        open_atomic(finished(part)) as file,
        av.open(file, "w", format="nut", container_options={"write_index": "0"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in _whole_packets(source, part):
            if packet.pts >= limit:
                break
            packet.stream = stream
            target.mux(packet)
    if part != finished(part):
        part.unlink()


def _open_part(part: Path) -> InputContainer | None:
    """The opened part; None when the kill came before its first image."""
    av = load_av("writing video")
    try:
        container = av.open(f"file:{part}", format="nut")
    except av.FFmpegError:
        return None
    if not container.streams.video:
        container.close()
        return None
    return container


def _packets(part: Path) -> Generator[Any, None, None]:
    container = _open_part(part)
    if container is not None:
        with container:
            yield from _whole_packets(container, part)


def _whole_packets(container: InputContainer, part: Path) -> Iterator[Any]:
    """The packets of a part; of one that was not finished, all but the last."""
    av = load_av("writing video")
    waiting = None
    try:
        for packet in container.demux(video=0):
            if packet.size and packet.pts is not None:
                if waiting is not None:
                    yield waiting
                waiting = packet
    except av.FFmpegError:  # it breaks off within the header of a packet
        pass
    if waiting is not None and part == finished(part):
        yield waiting


def join_parts(path: Path, audio_from: Path | None) -> str | None:
    """Join the parts into the target, whole, and remove them.

    Returns:
        What became of the sound: "copied", "encoded", or None when there is none that can be read.
    """
    av = load_av("writing video")
    sound = None
    template = next(filter(None, map(_open_part, parts_of(path))), None)
    if template is not None:
        with template:
            try:
                sound = _write_joined(path, template, audio_from)
            except av.FFmpegError as error:
                if audio_from is None or isinstance(error, OSError):
                    raise
                _write_joined(path, template, None)
    for part in all_parts(path):
        part.unlink()
    return sound


def _write_joined(path: Path, template: InputContainer, audio_from: Path | None) -> str | None:
    av = load_av("writing video")
    options = {"movie_timescale": str(TIME_BASE.denominator)}
    with open_atomic(path) as file, av.open(file, "w", format="mp4", container_options=options) as target:
        images = target.add_stream_from_template(template.streams.video[0])
        end_s: list[float] = []
        shown = _joined_images(parts_of(path), images, end_s)
        if audio_from is None:
            target.mux(shown)
            return None
        with av.open(f"file:{audio_from}", metadata_errors="replace") as source:
            if not source.streams.audio:
                target.mux(shown)
                return None
            how, heard = _sound(source, target, first_stamp_s(locate(audio_from)))
            for packet in heapq.merge(shown, heard, key=_time_s):
                if end_s and _time_s(packet) >= end_s[0]:
                    break
                target.mux(packet)
    return how


def _time_s(packet: Packet) -> float:
    return float((packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base)


def _joined_images(parts: list[Path], stream: VideoStream, end_s: list[float]) -> Iterator[Packet]:
    """The packets of all parts in order, each with its duration; at the end, that goes into `end_s`."""
    waiting, duration = None, round(Fraction(1, 25) / TIME_BASE)
    for part in parts:
        with closing(_packets(part)) as packets:
            for packet in packets:
                packet.stream, packet.dts = stream, packet.pts
                if waiting is not None:
                    duration = packet.pts - waiting.pts
                    waiting.duration = duration
                    yield waiting
                waiting = packet
    if waiting is not None:
        waiting.duration = duration
        end_s.append(float((waiting.pts + duration) * TIME_BASE))
        yield waiting


def _sound(source: InputContainer, target: OutputContainer, start_s: float) -> tuple[str, Iterator[Packet]]:
    """How the sound is taken over, and its packets on the clock of the images, zero at `start_s` in the file."""
    stream = source.streams.audio[0]
    if stream.codec_context.name in COPIED_SOUND:
        return "copied", _copied(source, stream, target.add_stream_from_template(stream), start_s)
    rate_hz = stream.rate if stream.rate in _AAC_RATES_HZ else 48000
    layout = "mono" if stream.channels == 1 else "stereo"
    encoder = target.add_stream("aac", rate=rate_hz, layout=layout)
    return "encoded", _encoded(source, stream, encoder, start_s)


def _copied(
    source: InputContainer, stream: AudioStream, target: AudioStream, start_s: float
) -> Iterator[Packet]:
    av = load_av("writing video")
    try:
        for packet in source.demux(stream):
            if not packet.size or packet.pts is None or packet.is_corrupt:
                continue
            packet.pts -= round(start_s / packet.time_base)
            packet.dts = packet.pts
            if float((packet.pts + (packet.duration or 0)) * packet.time_base) > -_LEAD_IN_S:
                packet.stream = target
                yield packet
    except av.FFmpegError:  # what can be heard up to the break
        return


def _encoded(
    source: InputContainer, stream: AudioStream, target: AudioStream, start_s: float
) -> Iterator[Packet]:
    for frame in _audible(source, stream):
        frame.pts -= round(start_s / frame.time_base)
        if frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate) > 0:
            yield from target.encode(frame)
    yield from target.encode(None)


def _audible(source: InputContainer, stream: AudioStream) -> Iterator[Any]:
    """The decoded sound; what is broken is left out."""
    av = load_av("writing video")
    packets = source.demux(stream)
    while True:
        try:
            packet = next(packets)
            frames = packet.decode()
        except (StopIteration, av.error.EOFError):
            return
        except av.FFmpegError:
            continue
        yield from (frame for frame in frames if frame.pts is not None)
