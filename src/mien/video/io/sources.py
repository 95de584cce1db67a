"""Video sources: files, network streams and cameras, opened with PyAV, with one-line error messages."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np

from mien.addresses import path_problem, public_name
from mien.av_streams import TEXT_FORMATS, decodable_video, is_cover, load_av
from mien.errors import InputError, VideoReadError, reason

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VideoInput: TypeAlias = str | os.PathLike[str] | int | bytes | BinaryIO | Iterable[Any]
"""File, URL, camera, the content of a file, an open binary file, or an iterable of frames; see `analyze_video`."""

STREAM_SCHEMES = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "tcp", "udp")
"""URL schemes of network streams."""

READ_TIMEOUT_S = 60.0
"""Seconds without data after which an open network stream ends."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Properties of a video, known before its frames are read.

    Attributes:
        source: name for messages; a URL is without user name and password.
        size_hw: height and width of the upright frames, before `max_side` is applied.
        fps: average frames per second, or None.
        duration_s: duration in seconds, or None.
        frames: estimated number of frames, or None.
        has_audio: true when there is an audio stream that can be decoded.
        is_live: true for a camera, and for a network stream without an end.
    """

    source: str
    size_hw: tuple[int, int]
    fps: float | None
    duration_s: float | None
    frames: int | None
    has_audio: bool
    is_live: bool


class DecodedFrame(NamedTuple):
    """One frame: its index in the source from 0, seconds since the first frame, (H, W, 3) uint8 RGB upright."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    timestamp_s: float
    image: np.ndarray


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """A source as PyAV opens it.

    Attributes:
        name: for messages; without user name and password.
        kind: file, stream or camera.
        url: for libav.
        format: of libav; None to detect it.
        options: of libav.
        file: open binary file to read instead of the URL.
    """

    name: str
    kind: Literal["file", "stream", "camera"]
    url: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    file: BinaryIO | None = None


def is_address(source: object) -> bool:
    """Return whether a source is a URL."""
    return isinstance(source, str) and _ADDRESS.match(source) is not None


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Return whether a path exists and is neither a file nor a folder, as a named pipe: it can be read only once."""
    path = Path(path)
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except (OSError, ValueError):  # not a valid file name
        return False


def resolve_source(source: VideoInput, fps: float | None = None) -> VideoSource:
    """Return the source of a file, the content of a file, a URL (`rtsp://...`) or a camera (its number, or "camera:0").

    Raises:
        VideoReadError: when the file is missing or empty, or the URL scheme is unknown.
        InputError: when the source is of another type.
    """
    if isinstance(source, int) and not isinstance(source, bool):
        return camera_source(str(source), fps)
    if isinstance(source, bytes | bytearray | memoryview):
        return _open_file_source(io.BytesIO(source))
    if hasattr(source, "read"):
        return _open_file_source(source)
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"{type(source).__name__} is not a video; expected a path, a URL, bytes, a file or frames.")
    if not os.fspath(source):
        raise VideoReadError(str(path_problem(source)))
    if isinstance(source, str) and source.startswith("camera:"):
        return camera_source(source.removeprefix("camera:"), fps)
    if isinstance(source, str) and (scheme := _ADDRESS.match(source)):
        return _stream_source(source, scheme[1].lower())
    return _file_source(Path(source))


def camera_source(camera: str, fps: float | None = None, *, system: str = sys.platform) -> VideoSource:
    """Return the source of a camera, given its number, its name or its device.

    Raises:
        VideoReadError: when Windows has no camera of this number, or the number is invalid.
    """
    name = f"camera {camera}"
    options = {"framerate": f"{fps:g}"} if fps else {}
    if not camera or camera.startswith("-"):
        raise VideoReadError(f"{name}: invalid number; cameras are numbered from 0, as in camera:0.")
    if system.startswith("win"):
        device = _dshow_name(int(camera)) if camera.isdigit() else camera
        return VideoSource(name=name, kind="camera", url=f"video={device}", format="dshow", options=options)
    if system == "darwin":
        # Without a rate, avfoundation requests its default, which many cameras lack.
        options = options or {"framerate": "30"}
        return VideoSource(name=name, kind="camera", url=camera, format="avfoundation", options=options)
    device = f"/dev/video{camera}" if camera.isdigit() else camera
    return VideoSource(name=name, kind="camera", url=device, format="video4linux2", options=options)


def _dshow_name(number: int) -> str:
    """Return the DirectShow name of a camera on Windows."""
    load_av("reading video", "video")
    try:
        from av.device import enumerate_input_devices
    except ImportError:
        raise VideoReadError(
            f"camera {number}: camera numbers need PyAV 17: pip install 'av>=17', or give the camera's name, as in "
            "camera:Integrated Camera."
        ) from None
    cameras = [device for device in enumerate_input_devices("dshow") if "video" in device.media_types]
    if number >= len(cameras):
        raise VideoReadError(f"there is no camera {number}: {len(cameras)} found. Is it plugged in?")
    return cameras[number].description or cameras[number].name


def _stream_source(url: str, scheme: str) -> VideoSource:
    name = public_name(url)
    if scheme == "file":
        raise VideoReadError(str(path_problem(url)))
    if scheme not in STREAM_SCHEMES:
        raise VideoReadError(f"{name}: unknown URL scheme; expected a file, or one of {', '.join(STREAM_SCHEMES)}.")
    options = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {}
    return VideoSource(name=name, kind="stream", url=url, options=options)


def _open_file_source(file: Any) -> VideoSource:
    """Return the source of an open binary file, read from its start."""
    name = getattr(file, "name", None)
    name = name if isinstance(name, str) else "the video"
    if isinstance(file, io.TextIOBase):
        raise InputError(f"{name} is open as text; open it in binary mode, as in open(path, 'rb').")
    try:
        is_empty = file.seekable() and not file.seek(0, os.SEEK_END)
    except (AttributeError, OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read: {reason(error)}.") from None
    if is_empty:
        raise VideoReadError(f"{name} is empty (0 bytes).")
    return VideoSource(name=name, kind="file", url=name, file=file)


def _file_source(path: Path) -> VideoSource:
    try:
        is_file = path.is_file()
        size = path.stat().st_size
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        if hint := path_problem(path):
            raise VideoReadError(hint) from None
        hint = f" For a camera write camera:{path}." if str(path).isdigit() else ""
        raise VideoReadError(f"{path}: {reason(error)}.{hint}") from None
    if is_file and not size:
        raise VideoReadError(f"{path} is empty (0 bytes).")
    return VideoSource(name=str(path), kind="file", url=f"file:{path}")


def open_source(
    source: VideoSource, *, threads: int = 0, timeout_s: float = 10.0
) -> tuple[InputContainer, VideoStream]:
    """Open the container of a source and select its video stream.

    Raises:
        VideoReadError: when the source cannot be opened in time, or has no video stream.
        MissingExtraError: when PyAV is not installed.
    """
    av = load_av("reading video", "video")
    is_stream = source.kind == "stream"
    started_s = time.monotonic()
    if source.file is not None and source.file.seekable():
        source.file.seek(0)
    try:
        container = av.open(
            source.file or source.url,
            format=source.format,
            options=source.options,
            metadata_errors="replace",
            timeout=(timeout_s, READ_TIMEOUT_S) if is_stream else None,
        )
    except (av.FFmpegError, ValueError) as error:
        if is_stream and time.monotonic() - started_s >= timeout_s:
            hint = "Check the address and the host."
            raise VideoReadError(f"{source.name} did not answer within {timeout_s:g} s. {hint}") from None
        raise VideoReadError(_open_error(source, error)) from None
    try:
        stream = _video_stream(container, source.name)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
    except BaseException:
        container.close()
        raise
    return container, stream


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the first decodable video stream that is not cover art."""
    if container.format.name in TEXT_FORMATS:
        raise VideoReadError(f"{name} is not a readable video: it looks like text.")
    if (stream := decodable_video(container)) is not None:
        return stream
    if not all(map(is_cover, container.streams.video)):
        raise VideoReadError(f"{name} has no video stream that this build of libav can decode.")
    content = "audio but no video" if container.streams.audio else "no video"
    raise VideoReadError(f"{name} has {content}; expected a video file.")


def _open_error(source: VideoSource, error: Exception) -> str:
    problem = reason(error)
    if source.kind == "camera":
        return _camera_error(source, error, problem)
    if source.kind == "stream":
        if type(error).__name__ == "InvalidDataError":
            return f"{source.name} answers, but not with a video."
        return f"{source.name} cannot be reached: {problem}. Check the address and the host."
    if isinstance(error, OSError):
        return f"{source.name}: {problem}."
    if _starts_as_mp4(source):
        return f"{source.name} is truncated or damaged: its index is missing. Copy it again, or repair it first."
    return f"{source.name} is not a readable video."


def read_error(source: VideoSource, error: Exception) -> str:
    """Describe why an open network stream or camera failed."""
    if type(error).__name__ == "ExitError":
        return f"{source.name} sent nothing for {READ_TIMEOUT_S:g} s."
    return f"{source.name} failed: {reason(error)}."


def _can_reopen(source: VideoSource) -> bool:
    """Return whether the file of a source can be read a second time; opening a pipe again would wait for a writer."""
    return not is_pipe(_path(source)) if source.file is None else source.file.seekable()


def _path(source: VideoSource) -> Path:
    return Path(source.url.removeprefix("file:"))


@contextmanager
def _reopened(source: VideoSource) -> Iterator[BinaryIO]:
    """Open the file of a source; the position of an open file is restored."""
    if source.file is None:
        with _path(source).open("rb") as file:
            yield file
        return
    position = source.file.tell()
    source.file.seek(0)
    yield source.file
    source.file.seek(position)


def _starts_as_mp4(source: VideoSource) -> bool:
    if not _can_reopen(source):
        return False
    try:
        with _reopened(source) as file:
            return file.read(8)[4:] in (b"ftyp", b"moov", b"wide")
    except (OSError, ValueError):
        return False


def _camera_error(source: VideoSource, error: Exception, problem: str) -> str:
    if isinstance(error, PermissionError):
        return f"{source.name}: permission denied. Allow this program to use the camera ({source.url})."
    if getattr(error, "errno", None) == errno.EBUSY:
        return f"{source.name} is in use by another program ({source.url})."
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in (errno.ENODEV, errno.ENXIO):
        return f"there is no {source.name} ({source.url}). Check that it is plugged in, and its number."
    if "no container format" in problem or not isinstance(error, OSError):
        return f"{source.name} cannot be read by this build of libav ({source.format}): {problem}."
    return f"{source.name} is missing or not accessible ({source.url}): {problem}."


def is_truncated_mp4(source: VideoSource) -> bool:
    """Return True when the last box of an MP4 is longer than the rest of the file; False if it cannot be read again."""
    if not _can_reopen(source):
        return False
    try:
        with _reopened(source) as file:
            return _has_incomplete_box(file)
    except OSError:
        # the file was removed while it was read
        return False


def _has_incomplete_box(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0: up to the end of the file; 1..7: invalid
            return False
        position += length
    return position != size
