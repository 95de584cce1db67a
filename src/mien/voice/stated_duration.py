"""Durations that headers state exactly, so that a truncated file is detected where decoding finds no damage."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO

from mien.av_streams import is_cover

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_MICROSECONDS_PER_S = 1_000_000
_UNKNOWN_SIZE = 0x7FFF0000
"""Minimum data size of a WAV header that is a placeholder; 0 is one too."""
_MAX_CHUNKS = 64
"""Maximum number of chunks of a WAV file before its data."""


def stated_duration(container: InputContainer, stream: AudioStream, start_s: float) -> float | None:
    """Return the duration that the header states, for a file with one track.

    It is in seconds from the first sample. Without it, libav estimates a duration from the bit rate. An MP3 header that
    states the duration also states a start after 0; Matroska states the duration of the file, and an estimate is also
    that of the track.

    Args:
        container: the file.
        stream: its sound track.
        start_s: time of the first sample on the clock of the file.

    Returns:
        None where a header states no duration, or perhaps that of other tracks.
    """
    if sum(not is_cover(track) for track in container.streams) > 1:
        return None
    name = container.format.name
    if name == "matroska,webm" and container.duration and not stream.duration:
        return container.duration / _MICROSECONDS_PER_S - start_s
    is_stated = name == "aiff" or (name == "mp3" and stream.start_time)
    return float(stream.duration * stream.time_base) if is_stated and stream.duration and stream.time_base else None


def truncated_wav_duration(file: BinaryIO) -> float | None:
    """Return the seconds that the header of a WAV file states if the file ends before them, otherwise None.

    libav takes the duration from the size of the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if (head := file.read(12))[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    position, bytes_per_s = 12, 0
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        if len(head := file.read(8)) < 8:
            return None
        name, length = struct.unpack("<4sI", head)
        position += 8
        if name == b"fmt ":
            bytes_per_s = int.from_bytes(file.read(12)[8:], "little")
        elif name == b"data":
            is_known = 0 < length < _UNKNOWN_SIZE and bytes_per_s > 0
            return length / bytes_per_s if is_known and position + length > size else None
        position += length + length % 2
    return None
