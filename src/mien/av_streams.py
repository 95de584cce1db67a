"""Streams of media files in libav: which of them can be decoded, cover images, time of the first frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

TEXT_FORMATS = frozenset({"adf", "bin", "idf", "tty", "xbin"})
"""Formats in which libav renders a text file as an image."""
MAX_FAILED_READS = 16
"""Number of failed reads in a row that end a file."""

_DEFAULT = 0x1
"""AV_DISPOSITION_DEFAULT of libav."""
_ATTACHED_IMAGE = 0x400
"""AV_DISPOSITION_ATTACHED_PIC of libav."""


def load_av(capability: str, extra: str) -> Any:
    """Import PyAV.

    Args:
        capability: what needs it, for the message.
        extra: the extra that installs it, "video" or "voice".

    Raises:
        MissingExtraError: when it is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError(capability, extra) from None
    return av


def decodable_audio(container: InputContainer) -> AudioStream | None:
    """Return the first decodable default sound track, or else the first decodable one."""
    tracks = audio_tracks(container)
    return next((track for track in tracks if _disposition(track) & _DEFAULT), tracks[0] if tracks else None)


def audio_tracks(container: InputContainer) -> list[AudioStream]:
    """Return the sound tracks that can be decoded."""
    return [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and stream.codec_context.codec is not None
    ]


def decodable_video(container: InputContainer) -> VideoStream | None:
    """Return the first decodable video of a file that is not a cover image."""
    for stream in container.streams.video:
        if not is_cover(stream) and stream.codec_context is not None:
            return stream
    return None


def is_cover(stream: Stream) -> bool:
    """Return whether a stream is the cover image of a piece of music."""
    return bool(_disposition(stream) & _ATTACHED_IMAGE)


def _disposition(stream: Stream) -> int:
    disposition: Any = stream.disposition
    # an enum from PyAV 17 on, a number before
    return getattr(disposition, "value", disposition)


def frame_stamp(frame: AudioFrame | VideoFrame) -> int | None:
    """Return the timestamp of a decoded frame in ticks of its stream, None when the file has none."""
    return frame.dts if frame.pts is None else frame.pts


def first_frame_s(container: InputContainer) -> float | None:
    """Return the time of the first decodable frame of a video on the clock of its file, in seconds.

    It is time 0 of `VideoReader`. Without such a frame it is the start that the file states, if any. Reading moves the
    position of the container: to read it from its start, open the file again.

    Returns:
        None without a decodable video, or when the file states no time.
    """
    if (stream := decodable_video(container)) is None or stream.time_base is None:
        return None
    frame = next(_intact_frames(container, stream), None)
    stamp = stream.start_time if frame is None else frame_stamp(frame) or 0
    return None if stamp is None else float(stamp * stream.time_base)


def _intact_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    from av.error import FFmpegError

    for packet in _packets(container, stream):
        try:
            frames: list[VideoFrame] = packet.decode()
        except (FFmpegError, ValueError):
            continue
        yield from (frame for frame in frames if not frame.is_corrupt)


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Yield the packets of a stream; continue after a damaged part where possible."""
    from av.error import FFmpegError

    failures = 0
    while failures < MAX_FAILED_READS:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except (FFmpegError, ValueError):
            failures += 1
