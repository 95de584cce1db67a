"""Audio of a video file, copied or encoded as AAC for an MP4."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mien.av_streams import load_av

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

COPIED_CODECS = frozenset({"aac", "ac3", "alac", "eac3", "mp3", "mp3float", "opus", "libopus"})
"""Codecs that players support in an MP4; audio of any other codec is encoded as AAC."""

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_LEAD_IN_S = 0.1
"""Audio kept before time 0 for the decoder to start on; players do not play it."""


def add_audio(
    source: InputContainer, stream: AudioStream, target: OutputContainer, start_s: float
) -> tuple[str, Iterator[Packet]]:
    """Add an audio stream of a file to an MP4.

    Args:
        source: the opened file.
        stream: of the file, with a decoder.
        target: the MP4; its video stream comes first.
        start_s: time in the file that becomes 0.

    Returns:
        "copied" or "encoded", and the packets to write.
    """
    if stream.codec_context.name in COPIED_CODECS:
        return "copied", _copy_packets(source, stream, target.add_stream_from_template(stream), start_s)
    rate_hz = stream.rate if stream.rate in _AAC_RATES_HZ else 48000
    layout = "mono" if stream.channels == 1 else "stereo"
    encoder = target.add_stream("aac", rate=rate_hz, layout=layout)
    return "encoded", _encode_packets(source, stream, encoder, start_s)


def _copy_packets(source: InputContainer, stream: AudioStream, target: AudioStream, start_s: float) -> Iterator[Packet]:
    av = load_av("writing video", "video")
    try:
        for packet in source.demux(stream):
            if not packet.size or packet.pts is None or packet.is_corrupt:
                continue
            packet.pts -= round(start_s / packet.time_base)
            packet.dts = packet.pts
            if float((packet.pts + (packet.duration or 0)) * packet.time_base) > -_LEAD_IN_S:
                packet.stream = target
                yield packet
    except av.FFmpegError:  # damaged from here on
        return


def _encode_packets(
    source: InputContainer, stream: AudioStream, target: AudioStream, start_s: float
) -> Iterator[Packet]:
    for frame in _decode_frames(source, stream):
        frame.pts -= round(start_s / frame.time_base)
        if frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate) > 0:
            yield from target.encode(frame)
    yield from target.encode(None)


def _decode_frames(source: InputContainer, stream: AudioStream) -> Iterator[Any]:
    """Yield the decodable audio frames."""
    av = load_av("writing video", "video")
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
