"""Small synthetic videos: numbered frames with any codec, times, audio and orientation."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from mien.video.io.reader import DecodedFrame, VideoReader

TIME_BASE = Fraction(1, 1000)
CORNERS = ((230, 30, 30), (30, 200, 30), (40, 40, 220), (220, 220, 40))  # left to right, top to bottom
LOSSLESS = {"crf": "0", "preset": "ultrafast", "g": "10"}
INTRA = {"g": "1", "level": "3", "slicecrc": "1"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
SAMPLE_RATE_HZ = 48000


def numbered(index: int, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Return an image with four colored corners and a white bar at a height given by the index."""
    height, width = size_hw
    image = np.empty((height, width, 3), dtype=np.uint8)
    for place, color in enumerate(CORNERS):
        rows = slice(0, height // 2) if place < 2 else slice(height // 2, None)
        columns = slice(width // 2, None) if place % 2 else slice(0, width // 2)
        image[rows, columns] = color
    image[(index * 2) % height : (index * 2) % height + 2] = 255
    return image


def steady(count: int, fps: float = 10.0) -> list[float]:
    return [index / fps for index in range(count)]


def write_clip(
    path: Path,
    codec: str = "libx264",
    *,
    times_s: list[float] | None = None,
    size_hw: tuple[int, int] = (48, 64),
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    images: list[np.ndarray] | None = None,
    sound: str | None = None,
    sound_starts_s: float = 0.0,
    sound_lasts_s: float | None = None,
    format_name: str | None = None,
    time_base: Fraction = TIME_BASE,
    rate: int = 10,
    pixel_ratio: Fraction | None = None,
) -> Path:
    """Write a clip of numbered frames, by default 30 at 10 per second, with a beep when an audio codec is given.

    `pixel_ratio` is the width of a stored pixel by its height.
    """
    times_s = steady(len(images) if images else 30) if times_s is None else times_s
    with av.open(str(path), "w", format=format_name, container_options=container_options or {}) as container:
        video: Any = container.add_stream(codec, rate=rate, options=options or {"g": "10"})
        video.height, video.width, video.pix_fmt = *size_hw, pixels
        video.codec_context.time_base = time_base
        if pixel_ratio is not None:
            video.codec_context.sample_aspect_ratio = pixel_ratio
        audio: Any = container.add_stream(sound, rate=SAMPLE_RATE_HZ, layout="mono") if sound else None
        for index, time_s in enumerate(times_s):
            image = images[index] if images else numbered(index, size_hw)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            lasts_s = sound_lasts_s or times_s[-1] + 0.1
            for frame in beep(sound_starts_s, lasts_s):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def beep(starts_s: float, lasts_s: float) -> list[av.AudioFrame]:
    """Return a tone of 440 Hz in frames of 1024 samples."""
    frames = []
    for first in range(0, round(lasts_s * SAMPLE_RATE_HZ), 1024):
        tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(first, first + 1024) / SAMPLE_RATE_HZ)
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ)
        frame.pts = first + round(starts_s * SAMPLE_RATE_HZ)
        frames.append(frame)
    return frames


def write_sound(path: Path, codec: str) -> Path:
    """Write a file with audio only."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=SAMPLE_RATE_HZ, layout="mono")
        for frame in beep(0.0, 1.0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def orient(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write (a, b, c, d) of the display matrix into the track header of an MP4: x' = a x + c y, y' = b x + d y."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 0x10000 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Truncate a file to a share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def read(source: str | Path | int, **options: Any) -> list[DecodedFrame]:
    with VideoReader(source, **options) as reader:
        return list(reader)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def corner_colors(image: np.ndarray) -> list[tuple[int, ...]]:
    height, width = image.shape[0], image.shape[1]
    positions = [
        (height // 4, width // 4),
        (height // 4, -width // 4),
        (-height // 4, width // 4),
        (-height // 4, -width // 4),
    ]
    return [tuple(int(value) for value in image[position]) for position in positions]


def nearest_corners(image: np.ndarray) -> list[int]:
    """Return the corners of `numbered` at the top left, top right, bottom left and bottom right."""
    distance = np.abs(np.array(corner_colors(image))[:, None] - np.array(CORNERS)[None]).sum(axis=2)
    return [int(place) for place in distance.argmin(axis=1)]


def assert_same(frames: list[DecodedFrame], expected: list[DecodedFrame]) -> None:
    assert [frame[:2] for frame in frames] == [frame[:2] for frame in expected]
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
