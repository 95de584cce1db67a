"""What a video is read from: a file, a network stream or a camera, opened, with every failure worded in one line."""

from __future__ import annotations

import errno
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mien.errors import MissingExtraError, VideoReadError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

STREAM_SCHEMES = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "tcp", "udp")
"""Kinds of address that are read over the network."""

_TEXT_ART = frozenset({"adf", "bin", "idf", "tty", "xbin"})
"""Formats in which libav would draw a text file as an image."""

_ATTACHED_IMAGE = 0x400  # libav's AV_DISPOSITION_ATTACHED_PIC


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    Attributes:
        source: as the user knows it; of an address, without name and password.
        size_hw: height and width of the upright frames, before `most_side` makes them smaller.
        fps: average frames per second, or None.
        duration_s: or None.
        frames: about how many, or None.
        has_audio: whether there is sound.
        is_live: a camera, or a network stream without an end.
    """

    source: str
    size_hw: tuple[int, int]
    fps: float | None
    duration_s: float | None
    frames: int | None
    has_audio: bool
    is_live: bool


class DecodedFrame(NamedTuple):
    """One frame: its number in the source from 0, seconds since the first frame, (H, W, 3) uint8 RGB upright."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    timestamp_s: float
    image: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where libav finds a source: its name for people, then what libav wants to hear."""

    name: str
    kind: Literal["file", "stream", "camera"]
    url: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def load_av(capability: str) -> Any:
    """The module `av`.

    Raises:
        MissingExtraError: when it is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtraError(capability, "video") from None
    return av


def locate(source: str | Path | int, fps: float | None = None) -> Place:
    """The place of a file, an address (`rtsp://...`) or a camera (its number, or "camera:0").

    Raises:
        VideoReadError: when there is no such file, it is empty, or the kind of address is unknown.
    """
    if isinstance(source, int):
        return camera_place(str(source), fps)
    if isinstance(source, str) and source.startswith("camera:"):
        return camera_place(source.removeprefix("camera:"), fps)
    if isinstance(source, str) and (scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", source)):
        return _stream_place(source, scheme[1].lower())
    return _file_place(Path(source))


def camera_place(which: str, fps: float | None = None, *, system: str = sys.platform) -> Place:
    """The place of a camera on this kind of system: by its number, or by its name or device.

    Raises:
        VideoReadError: when Windows has no camera of this number, or the number is no number.
    """
    name, rate = f"camera {which}", {"framerate": f"{fps:g}"} if fps else {}
    if not which or which.startswith("-"):
        raise VideoReadError(f"{name}: cameras are numbered from 0, so write camera:0.")
    if system.startswith("win"):
        device = _dshow_name(int(which)) if which.isdigit() else which
        return Place(name=name, kind="camera", url=f"video={device}", format="dshow", options=rate)
    if system == "darwin":  # avfoundation asks for its default rate, which many cameras do not have
        rate = rate or {"framerate": "30"}
        return Place(name=name, kind="camera", url=which, format="avfoundation", options=rate)
    device = f"/dev/video{which}" if which.isdigit() else which
    return Place(name=name, kind="camera", url=device, format="video4linux2", options=rate)


def _dshow_name(number: int) -> str:
    """The name under which Windows knows the camera of this number."""
    load_av("reading video")
    try:
        from av.device import enumerate_input_devices
    except ImportError:
        raise VideoReadError(
            f"camera {number}: write its name, as in camera:Integrated Camera, or pip install 'av>=17'."
        ) from None
    cameras = [device for device in enumerate_input_devices("dshow") if "video" in device.media_types]
    if number >= len(cameras):
        raise VideoReadError(f"there is no camera {number}: {len(cameras)} found. Is it plugged in?")
    return cameras[number].description or cameras[number].name


def _stream_place(url: str, scheme: str) -> Place:
    name = re.sub(r"//[^/]*@", "//", url)
    if scheme not in STREAM_SCHEMES:
        raise VideoReadError(
            f"{name}: unknown kind of address. Give a file, or one of {', '.join(STREAM_SCHEMES)}."
        )
    options = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {}
    return Place(name=name, kind="stream", url=url, options=options)


def _file_place(path: Path) -> Place:
    try:
        is_file, size = path.is_file(), path.stat().st_size
    except (OSError, ValueError) as error:  # a ValueError where the name itself cannot be
        problem = (getattr(error, "strerror", None) or str(error)).lower()
        hint = f" For a camera write camera:{path}." if str(path).isdigit() else ""
        raise VideoReadError(f"{path}: {problem}.{hint}") from None
    if is_file and not size:
        raise VideoReadError(f"{path} is empty (0 bytes).")
    return Place(name=str(path), kind="file", url=f"file:{path}")


def open_place(
    place: Place, *, threads: int = 0, timeout_s: float = 10.0
) -> tuple[InputContainer, VideoStream]:
    """The opened container of a place and its images.

    Raises:
        VideoReadError: when it cannot be opened, in time, or has no moving images.
        MissingExtraError: when PyAV is not installed.
    """
    av = load_av("reading video")
    timeout = timeout_s if place.kind == "stream" else None
    started_s = time.monotonic()
    try:
        container = av.open(
            place.url, format=place.format, options=place.options, metadata_errors="replace", timeout=timeout
        )
    except (av.FFmpegError, ValueError) as error:
        if timeout is not None and time.monotonic() - started_s >= timeout:
            hint = "Is the address right and the host up?"
            raise VideoReadError(f"{place.name} did not answer within {timeout_s:g} s. {hint}") from None
        raise VideoReadError(_opening_problem(place, error)) from None
    try:
        stream = _images(container, place.name)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
    except BaseException:
        container.close()
        raise
    return container, stream


def _images(container: InputContainer, name: str) -> VideoStream:
    """The first stream of moving images; the cover of an album is none."""
    if container.format.name in _TEXT_ART:
        raise VideoReadError(f"{name} is not a video that mien can read: it looks like text.")
    for stream in container.streams.video:
        disposition: Any = getattr(stream, "disposition", 0)
        is_cover = getattr(disposition, "value", disposition) & _ATTACHED_IMAGE  # no number before av 17
        if not is_cover and stream.codec_context is not None:
            return stream
    if container.streams.video:
        raise VideoReadError(f"{name} has no moving images that this build of libav can decode.")
    if container.streams.audio:
        raise VideoReadError(f"{name} has sound but no images: give a video.")
    raise VideoReadError(f"{name} has no images: give a video.")


def _opening_problem(place: Place, error: Exception) -> str:
    problem = (getattr(error, "strerror", None) or str(error)).lower()
    if place.kind == "camera":
        return _camera_problem(place, error, problem)
    if place.kind == "stream":
        if type(error).__name__ == "InvalidDataError":
            return f"{place.name} answers, but with nothing that is a video."
        return f"{place.name} cannot be reached: {problem}. Is the address right and the host up?"
    if isinstance(error, OSError):
        return f"{place.name}: {problem}."
    if _starts_as_mp4(place.url.removeprefix("file:")):
        return f"{place.name} is cut off or damaged: its index is missing. Copy it again, or repair it first."
    return f"{place.name} is not a video that mien can read."


def _starts_as_mp4(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(8)[4:] in (b"ftyp", b"moov", b"wide")
    except OSError:
        return False


def _camera_problem(place: Place, error: Exception, problem: str) -> str:
    if isinstance(error, PermissionError):
        return f"{place.name} may not be used: allow this program to use the camera ({place.url})."
    if getattr(error, "errno", None) == errno.EBUSY:
        return f"{place.name} is in use by another program ({place.url})."
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in (errno.ENODEV, errno.ENXIO):
        return f"there is no {place.name} ({place.url}). Is it plugged in, and is its number right?"
    if "no container format" in problem or not isinstance(error, OSError):
        return f"{place.name} cannot be read by this build of libav ({place.format}): {problem}."
    return f"there is no {place.name}, or it may not be used ({place.url}): {problem}."


def is_cut_mp4(path: str) -> bool:
    """Whether the last box of an MP4 says that it is longer than the rest of the file."""
    with Path(path).open("rb") as file:
        size, place = file.seek(0, 2), 0
        while place + 8 <= size:
            file.seek(place)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:], "big")
            if length < 8:  # 0 reaches to the end; less is no box
                return False
            place += length
    return place != size
