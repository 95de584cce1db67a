"""Clips made from the portraits in `examples/`: two people who cross, a face that changes, and files of them.

`python tests/video.py clip.mp4` writes the crossing, to be looked at.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Literal

import av
import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from support.images import EXAMPLES, PORTRAITS, noisy, scaled

Box = tuple[float, float, float, float]

SPRITE_FACE_PX = 150
"""Height of the face in a sprite; it is shown smaller, never larger."""
HIDDEN = 0.6
"""A face of which more than this share is covered or outside the image counts as not there."""
TICKS_PER_S = 60_000
"""Clock of a clip: whole ticks at 24, 25, 30, 50, 60 and 29.97 frames a second; MPEG-4 allows no more than 65,535."""


@dataclass(frozen=True)
class Pose:
    """Where a head is: center of its face and the face's height, as shares of the image's height and width."""

    x: float
    y: float
    face: float = 0.26
    clockwise_deg: float = 0.0
    squeeze: float = 1.0


@dataclass(frozen=True)
class Sprite:
    """A head and shoulders, cut out: (H, W, 4) RGBA, and the ellipse of its face, center and half axes."""

    pixels: Image.Image
    center_xy: np.ndarray
    half_xy: np.ndarray

    def matrix(self, pose: Pose, size_wh: tuple[int, int]) -> np.ndarray:
        """The (2, 3) transform from sprite to image pixels."""
        scale = pose.face * size_wh[1] / (2 * self.half_xy[1])
        angle = math.radians(pose.clockwise_deg)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = turn @ np.diag([scale * pose.squeeze, scale])
        return np.column_stack([linear, np.multiply((pose.x, pose.y), size_wh) - linear @ self.center_xy])


def sprite(examples: Path, name: str) -> Sprite:
    """Head and shoulders of a portrait behind a mask of soft ovals."""
    x1, y1, x2, y2 = PORTRAITS[name]
    factor = SPRITE_FACE_PX / (y2 - y1)
    image = scaled(np.array(Image.open(examples / f"{name}.jpg").convert("RGB")), factor)
    center = np.array([x1 + x2, y1 + y2]) / 2 * factor
    half = np.array([x2 - x1, y2 - y1]) / 2 * factor
    mask = Image.new("L", (image.shape[1], image.shape[0]))
    draw = ImageDraw.Draw(mask)
    for (dx, dy), (rx, ry) in (((0, -0.12), (1.28, 1.2)), ((-0.1, 2.0), (1.8, 1.3)), ((0, 1.0), (0.7, 0.9))):
        middle, radius = center + half * (dx, dy), half * (rx, ry)
        draw.ellipse([*(middle - radius), *(middle + radius)], fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(4))
    ends = np.minimum(1, np.arange(image.shape[0])[::-1] / 20)[:, None]  # no hard edge where the image ends
    alpha = (np.asarray(mask) * ends).astype(np.uint8)
    pixels = Image.fromarray(np.dstack([image, alpha]))
    box = pixels.getchannel("A").getbbox()
    assert box is not None
    return Sprite(pixels.crop(box), center - box[:2], half)


def smooth(start: float, end: float, share: float) -> float:
    """From 0 to 1 while `share` goes from `start` to `end`, gently at both ends."""
    x = min(1.0, max(0.0, (share - start) / (end - start)))
    return x * x * (3 - 2 * x)


def front_pose(share: float) -> Pose:
    """Walks to the right in front of the other, out of the image, and later back in from there."""
    x = (
        0.22
        + 0.5 * smooth(0.05, 0.45, share)
        + 0.5 * smooth(0.5, 0.62, share)
        - 0.45 * smooth(0.82, 0.95, share)
    )
    return Pose(x, 0.40 + 0.02 * math.sin(14 * share), face=0.30)


def back_pose(share: float) -> Pose:
    """Walks to the left behind the other, then tilts the head and turns it away and back."""
    x = 0.74 - 0.46 * smooth(0.05, 0.42, share)
    turned = smooth(0.65, 0.72, share) - smooth(0.78, 0.85, share)
    tilted = smooth(0.46, 0.52, share) - 2 * smooth(0.53, 0.6, share) + smooth(0.6, 0.65, share)
    return Pose(
        x, 0.43 + 0.015 * math.sin(11 * share), 0.25, clockwise_deg=18 * tilted, squeeze=1 - 0.35 * turned
    )


PATHS: dict[str, Callable[[float], Pose]] = {"biden": back_pose, "obama": front_pose}
"""Where each person is when a share 0..1 of the clip is over; who comes later stands in front."""


def crossing_frames(
    examples: Path = EXAMPLES, *, fps: float = 25, seconds: float = 8, size_wh: tuple[int, int] = (640, 480)
) -> Iterator[tuple[np.ndarray, dict[str, Box | None]]]:
    """Two people who cross, and where each face is: its whole box, or None when it is hidden or outside.

    Between 1/20 and 9/20 of the time they change sides, obama in front; from about 0.57 to 0.88 obama is out of the
    image (2.4 of 8 seconds), while biden tilts and turns the head.
    """
    times = np.arange(round(seconds * fps)) / fps
    return moving_frames(examples, PATHS, (times / seconds).tolist(), size_wh=size_wh)


def moving_frames(
    examples: Path,
    paths: dict[str, Callable[[float], Pose]],
    shares: Iterable[float],
    *,
    size_wh: tuple[int, int],
) -> Iterator[tuple[np.ndarray, dict[str, Box | None]]]:
    """People on given paths in a room, at given shares of the time, later ones in front; as `crossing_frames`."""
    sprites = {name: sprite(examples, name) for name in paths}
    behind = room(size_wh)
    for number, share in enumerate(shares):
        image = Image.fromarray(behind)
        matrices = {name: sprites[name].matrix(path(share), size_wh) for name, path in paths.items()}
        for name, matrix in matrices.items():
            paste(image, sprites[name].pixels, matrix)
        names = list(paths)
        boxes = {
            name: seen_box(name, {other: matrices[other] for other in names[place:]}, sprites, size_wh)
            for place, name in enumerate(names)
        }
        yield grain(image, number), boxes


def room(size_wh: tuple[int, int]) -> np.ndarray:
    """A wall with a window and a shelf, out of focus: (H, W, 3) uint8."""
    width, height = size_wh
    rows, columns = np.linspace(0, 40, height)[:, None, None], np.linspace(-20, 20, width)[None, :, None]
    wall = Image.fromarray((np.array([176.0, 168, 158]) - rows + columns).round().astype(np.uint8))
    draw = ImageDraw.Draw(wall)
    parts = [((0.06, 0.05, 0.3, 0.55), (196, 208, 214)), ((0.62, 0.2, 0.98, 0.24), (104, 84, 66))]
    parts += [
        ((0.66 + 0.05 * k, 0.08, 0.69 + 0.05 * k, 0.2), (90 + 20 * k, 96, 140 - 15 * k)) for k in range(5)
    ]
    parts += [((0, 0.86, 1, 1), (92, 78, 70))]
    for box, color in parts:
        draw.rectangle((np.array(box) * [width, height, width, height]).tolist(), fill=color)
    return noisy(np.array(wall.filter(ImageFilter.GaussianBlur(height / 120))), 2)


@cache
def noise_sheet(size_wh: tuple[int, int]) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 7, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


def grain(image: Image.Image, number: int) -> np.ndarray:
    """The image's pixels with a camera's noise, another in every frame: one sheet of noise, moved about."""
    sheet = ImageChops.offset(noise_sheet(image.size), 17 * number % 251, 29 * number % 257)
    return np.array(ImageChops.add(image, sheet, 1, -3))


def grain_over(image: np.ndarray, number: int) -> np.ndarray:
    """An image (H, W, 3) uint8 as a camera would see it in frame `number`."""
    return grain(Image.fromarray(image), number)


def paste(image: Image.Image, cut_out: Image.Image, matrix: np.ndarray) -> None:
    """Lay an RGBA cut-out on the image where the (2, 3) matrix puts it."""
    corners = np.array([[0, 0], [cut_out.width, 0], [0, cut_out.height], cut_out.size]) @ matrix[:, :2].T
    low, high = corners.min(axis=0) + matrix[:, 2], corners.max(axis=0) + matrix[:, 2]
    x1, y1 = np.clip(np.floor(low), 0, image.size).astype(int)
    x2, y2 = np.clip(np.ceil(high), 0, image.size).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    inverse = np.linalg.inv(matrix[:, :2])
    to_sprite = np.column_stack([inverse, inverse @ (np.array([x1, y1]) - matrix[:, 2])])
    part = cut_out.transform(
        (int(x2 - x1), int(y2 - y1)),
        Image.Transform.AFFINE,
        to_sprite.ravel().tolist(),
        Image.Resampling.BILINEAR,
    )
    image.paste(part, (int(x1), int(y1)), part)


def seen_box(
    name: str, matrices: dict[str, np.ndarray], sprites: dict[str, Sprite], size_wh: tuple[int, int]
) -> Box | None:
    """The box of the first person's face, or None when those in front or the frame hide more than `HIDDEN`."""
    own, matrix = sprites[name], matrices[name]
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-1, 1, 15)), axis=-1).reshape(-1, 2)
    grid = grid[(grid**2).sum(axis=1) <= 1]
    points = (own.center_xy + grid * own.half_xy) @ matrix[:, :2].T + matrix[:, 2]
    seen = ((points >= 0) & (points < size_wh)).all(axis=1)
    for other, over in matrices.items():
        if other != name:
            there = (points - over[:, 2]) @ np.linalg.inv(over[:, :2]).T
            seen &= ~covered(sprites[other].pixels, there)
    if seen.mean() < 1 - HIDDEN:
        return None
    center = matrix[:, :2] @ own.center_xy + matrix[:, 2]
    half = np.sqrt(((matrix[:, :2] * own.half_xy) ** 2).sum(axis=1))  # the hull of a turned ellipse
    x1, y1, x2, y2 = (*(center - half), *(center + half))
    return float(x1), float(y1), float(x2), float(y2)


def covered(cut_out: Image.Image, points_xy: np.ndarray) -> np.ndarray:
    """Which of the points (N, 2) lie on an opaque pixel of the cut-out."""
    alpha = np.pad(np.asarray(cut_out.getchannel("A")), 1)
    x, y = np.clip(np.floor(points_xy).astype(int) + 1, 0, np.array(alpha.shape[::-1]) - 1).T
    return alpha[y, x] > 127


def switching_frames(
    faces: Sequence[np.ndarray],
    seconds: float | Sequence[float] = 1.0,
    *,
    fps: float = 25,
    size_wh: tuple[int, int] = (640, 480),
    height: float = 0.6,
) -> Iterator[np.ndarray]:
    """One face crop after another in the middle of a room, each for its seconds: (H, W, 3) uint8 frames.

    A crop is (h, w, 3) uint8 RGB and is shown `height` of the image high; the edges stay hard.
    """
    behind = room(size_wh)
    durations = [seconds] * len(faces) if isinstance(seconds, int | float) else seconds
    ends = np.cumsum(durations)
    for number in range(round(float(ends[-1]) * fps) if len(ends) else 0):
        shown = faces[min(int(np.searchsorted(ends, number / fps + 1e-9, side="right")), len(faces) - 1)]
        head = scaled(shown, height * size_wh[1] / shown.shape[0])
        frame = Image.fromarray(behind)
        frame.paste(
            Image.fromarray(head), ((size_wh[0] - head.shape[1]) // 2, (size_wh[1] - head.shape[0]) // 2)
        )
        yield grain(frame, number)


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float = 25,
    timestamps_s: Sequence[float] | None = None,
    audio: bool = False,
    rotation: int = 0,
    codec: Literal["libx264", "mpeg4"] = "libx264",
    keyframe_every: int = 12,
) -> Path:
    """Write upright frames (H, W, 3) uint8 RGB of one even size as .mp4 or .mkv.

    Args:
        fps: frames a second; what the file says of itself, also where `timestamps_s` sets the times.
        timestamps_s: when each frame is shown, rising; there may be more of them than frames.
        audio: adds a tone of 440 Hz as AAC, as long as the images.
        rotation: 0, 90, 180 or 270: pixels are stored turned, and the file tells players to turn them clockwise by so
            many degrees, as telephones do; in .mp4 alone.
        codec: libx264, or mpeg4 where that is missing.
    """
    if rotation and path.suffix != ".mp4":
        raise ValueError("only an .mp4 can be turned.")
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        sound = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        video.pix_fmt, video.gop_size = "yuv420p", keyframe_every
        video.codec_context.time_base = Fraction(1, TICKS_PER_S)
        video.options = {"preset": "veryfast", "crf": "20"} if codec == "libx264" else {"qscale": "4"}
        end_s = 0.0
        for number, upright in enumerate(frames):
            stored = np.ascontiguousarray(np.rot90(upright, rotation // 90))
            if number == 0:
                video.height, video.width = stored.shape[:2]
            begin_s = number / fps if timestamps_s is None else timestamps_s[number]
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = round(begin_s * TICKS_PER_S), Fraction(1, TICKS_PER_S)
            container.mux(video.encode(frame))
            end_s = begin_s + 1 / fps
        container.mux(video.encode())
        if sound is not None:
            for part in tone(end_s):
                container.mux(sound.encode(part))
            container.mux(sound.encode())
    if rotation:
        path.write_bytes(with_rotation(path.read_bytes(), rotation))
    return path


def tone(seconds: float, *, rate: int = 16_000, hz: float = 440.0) -> Iterator[av.AudioFrame]:
    """A sine in pieces of 1,024 samples."""
    samples = 0.2 * np.sin(2 * np.pi * hz / rate * np.arange(round(seconds * rate)))
    for start in range(0, len(samples), 1024):
        part = av.AudioFrame.from_ndarray(
            samples[None, start : start + 1024].astype(np.float32), format="fltp", layout="mono"
        )
        part.sample_rate, part.pts, part.time_base = rate, start, Fraction(1, rate)
        yield part


def with_rotation(mp4: bytes, clockwise: int) -> bytes:
    """The bytes of an MP4 whose image players turn clockwise: the matrix in the header of its video track."""
    data = bytearray(mp4)
    at = data.index(b"tkhd") + 4  # the first track is the video; version 0 has the matrix after 40 bytes
    assert data[at] == 0
    width, height = struct.unpack(">II", data[at + 76 : at + 84])
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[clockwise]
    shift_x = {90: height, 180: width, 270: 0}[clockwise]
    shift_y = {90: 0, 180: height, 270: width}[clockwise]
    one = 1 << 16
    matrix = [cos * one, sin * one, 0, -sin * one, cos * one, 0, shift_x, shift_y, 1 << 30]
    data[at + 40 : at + 76] = struct.pack(">9i", *matrix)
    return bytes(data)


if __name__ == "__main__":
    write_clip(Path(sys.argv[1]), (frame for frame, _ in crossing_frames()))


def image_times(path: Path) -> list[float]:
    """When each image of a video is shown, in seconds."""
    with av.open(str(path)) as container:
        return [round(float(frame.pts * frame.time_base), 4) for frame in container.decode(video=0)]


def sound_seconds(path: Path) -> float:
    """How long a video sounds; 0 when it is silent."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0.0
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
