"""Synthetic clips from the portraits in `examples/`: two people who cross, and a face whose expression changes.

`python tests/support/video.py clip.mp4` writes the crossing, run with tests/ on the Python path.
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
"""Height of the face in a sprite; it is drawn at this size or smaller."""
HIDDEN = 0.6
"""Maximum share of a face that may be covered or outside the image; above it the face counts as absent."""
TICKS_PER_S = 60_000
"""Clock of a clip: whole ticks at 24, 25, 29.97, 30, 50 and 60 frames per second; MPEG-4 allows up to 65,535."""


@dataclass(frozen=True)
class Pose:
    """Position of a head: center and height of the face, as shares of the image's width and height."""

    x: float
    y: float
    face: float = 0.26
    clockwise_deg: float = 0.0
    squeeze: float = 1.0


@dataclass(frozen=True)
class Sprite:
    """A cropped head with shoulders: (H, W, 4) RGBA, and the ellipse of its face, center and half axes."""

    pixels: Image.Image
    center_xy: np.ndarray
    half_xy: np.ndarray

    def matrix(self, pose: Pose, size_wh: tuple[int, int]) -> np.ndarray:
        """Return the (2, 3) transform from sprite to image pixels."""
        scale = pose.face * size_wh[1] / (2 * self.half_xy[1])
        angle = math.radians(pose.clockwise_deg)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = rotation @ np.diag([scale * pose.squeeze, scale])
        return np.column_stack([linear, np.multiply((pose.x, pose.y), size_wh) - linear @ self.center_xy])


def sprite(examples: Path, name: str) -> Sprite:
    """Crop head and shoulders of a portrait with a mask of soft ovals."""
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
    # Fade out at the bottom of the image.
    ends = np.minimum(1, np.arange(image.shape[0])[::-1] / 20)[:, None]
    alpha = (np.asarray(mask) * ends).astype(np.uint8)
    pixels = Image.fromarray(np.dstack([image, alpha]))
    box = pixels.getchannel("A").getbbox()
    assert box is not None
    return Sprite(pixels.crop(box), center - box[:2], half)


def smooth(start: float, end: float, share: float) -> float:
    """Return a smoothstep from 0 to 1 while `share` goes from `start` to `end`."""
    x = min(1.0, max(0.0, (share - start) / (end - start)))
    return x * x * (3 - 2 * x)


def front_pose(share: float) -> Pose:
    """Return the pose of a person who walks to the right in front, out of the image, and later back."""
    x = 0.22 + 0.5 * smooth(0.05, 0.45, share) + 0.5 * smooth(0.5, 0.62, share) - 0.45 * smooth(0.82, 0.95, share)
    return Pose(x, 0.40 + 0.02 * math.sin(14 * share), face=0.30)


def back_pose(share: float) -> Pose:
    """Return the pose of a person who walks to the left behind, then tilts the head and turns it away and back."""
    x = 0.74 - 0.46 * smooth(0.05, 0.42, share)
    turn = smooth(0.65, 0.72, share) - smooth(0.78, 0.85, share)
    tilt = smooth(0.46, 0.52, share) - 2 * smooth(0.53, 0.6, share) + smooth(0.6, 0.65, share)
    return Pose(x, 0.43 + 0.015 * math.sin(11 * share), 0.25, clockwise_deg=18 * tilt, squeeze=1 - 0.35 * turn)


PATHS: dict[str, Callable[[float], Pose]] = {"biden": back_pose, "obama": front_pose}
"""Pose of each person by share 0..1 of the clip; later ones are in front."""


def crossing_frames(
    examples: Path = EXAMPLES, *, fps: float = 25, seconds: float = 8, size_wh: tuple[int, int] = (640, 480)
) -> Iterator[tuple[np.ndarray, dict[str, Box | None]]]:
    """Yield frames of two people who cross, and the box of each face; None when it is hidden or outside.

    Between 1/20 and 9/20 of the time they change sides, obama in front. From about 0.57 to 0.88 obama is out of the
    image (2.4 of 8 seconds), while biden tilts and turns the head.
    """
    times = np.arange(round(seconds * fps)) / fps
    return moving_frames(examples, PATHS, (times / seconds).tolist(), size_wh=size_wh)


def moving_frames(
    examples: Path, paths: dict[str, Callable[[float], Pose]], shares: Iterable[float], *, size_wh: tuple[int, int]
) -> Iterator[tuple[np.ndarray, dict[str, Box | None]]]:
    """Yield frames of people on given paths at given shares of the time; see `crossing_frames`."""
    sprites = {name: sprite(examples, name) for name in paths}
    background = room(size_wh)
    for number, share in enumerate(shares):
        image = Image.fromarray(background)
        matrices = {name: sprites[name].matrix(path(share), size_wh) for name, path in paths.items()}
        for name, matrix in matrices.items():
            paste(image, sprites[name].pixels, matrix)
        names = list(paths)
        boxes = {
            name: visible_box(name, {other: matrices[other] for other in names[place:]}, sprites, size_wh)
            for place, name in enumerate(names)
        }
        yield grain(image, number), boxes


def room(size_wh: tuple[int, int]) -> np.ndarray:
    """Return a blurred wall with a window and a shelf, (H, W, 3) uint8."""
    width, height = size_wh
    rows, columns = np.linspace(0, 40, height)[:, None, None], np.linspace(-20, 20, width)[None, :, None]
    wall = Image.fromarray((np.array([176.0, 168, 158]) - rows + columns).round().astype(np.uint8))
    draw = ImageDraw.Draw(wall)
    parts = [((0.06, 0.05, 0.3, 0.55), (196, 208, 214)), ((0.62, 0.2, 0.98, 0.24), (104, 84, 66))]
    parts += [((0.66 + 0.05 * k, 0.08, 0.69 + 0.05 * k, 0.2), (90 + 20 * k, 96, 140 - 15 * k)) for k in range(5)]
    parts += [((0, 0.86, 1, 1), (92, 78, 70))]
    for box, color in parts:
        draw.rectangle((np.array(box) * [width, height, width, height]).tolist(), fill=color)
    return noisy(np.array(wall.filter(ImageFilter.GaussianBlur(height / 120))), 2)


@cache
def noise_sheet(size_wh: tuple[int, int]) -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 7, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    return Image.fromarray(levels)


def grain(image: Image.Image, number: int) -> np.ndarray:
    """Return the pixels with camera noise that differs in every frame: one sheet of noise, shifted."""
    sheet = ImageChops.offset(noise_sheet(image.size), 17 * number % 251, 29 * number % 257)
    return np.array(ImageChops.add(image, sheet, 1, -3))


def grain_over(image: np.ndarray, number: int) -> np.ndarray:
    """Add the camera noise of frame `number` to an image (H, W, 3) uint8."""
    return grain(Image.fromarray(image), number)


def paste(image: Image.Image, cutout: Image.Image, matrix: np.ndarray) -> None:
    """Paste an RGBA cutout onto the image by a (2, 3) matrix."""
    corners = np.array([[0, 0], [cutout.width, 0], [0, cutout.height], cutout.size]) @ matrix[:, :2].T
    low, high = corners.min(axis=0) + matrix[:, 2], corners.max(axis=0) + matrix[:, 2]
    x1, y1 = np.clip(np.floor(low), 0, image.size).astype(int)
    x2, y2 = np.clip(np.ceil(high), 0, image.size).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    inverse = np.linalg.inv(matrix[:, :2])
    to_sprite = np.column_stack([inverse, inverse @ (np.array([x1, y1]) - matrix[:, 2])])
    part = cutout.transform(
        (int(x2 - x1), int(y2 - y1)), Image.Transform.AFFINE, to_sprite.ravel().tolist(), Image.Resampling.BILINEAR
    )
    image.paste(part, (int(x1), int(y1)), part)


def visible_box(
    name: str, matrices: dict[str, np.ndarray], sprites: dict[str, Sprite], size_wh: tuple[int, int]
) -> Box | None:
    """Return the box of a face, or None when more than `HIDDEN` is covered or outside."""
    own, matrix = sprites[name], matrices[name]
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 15), np.linspace(-1, 1, 15)), axis=-1).reshape(-1, 2)
    grid = grid[(grid**2).sum(axis=1) <= 1]
    points = (own.center_xy + grid * own.half_xy) @ matrix[:, :2].T + matrix[:, 2]
    is_visible = ((points >= 0) & (points < size_wh)).all(axis=1)
    for other, over in matrices.items():
        if other != name:
            sprite_points = (points - over[:, 2]) @ np.linalg.inv(over[:, :2]).T
            is_visible &= ~covered(sprites[other].pixels, sprite_points)
    if is_visible.mean() < 1 - HIDDEN:
        return None
    center = matrix[:, :2] @ own.center_xy + matrix[:, 2]
    half = np.sqrt(((matrix[:, :2] * own.half_xy) ** 2).sum(axis=1))  # bounding box of a rotated ellipse
    x1, y1, x2, y2 = (*(center - half), *(center + half))
    return float(x1), float(y1), float(x2), float(y2)


def covered(cutout: Image.Image, points_xy: np.ndarray) -> np.ndarray:
    """Return (N,) bool: true for points (N, 2) on an opaque pixel of the cutout."""
    alpha = np.pad(np.asarray(cutout.getchannel("A")), 1)
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
    """Yield (H, W, 3) uint8 frames with one face crop after another in the middle of a room, each for some seconds.

    A crop is (h, w, 3) uint8 RGB and is scaled to the share `height` of the image, with hard edges.
    """
    background = room(size_wh)
    durations = [seconds] * len(faces) if isinstance(seconds, int | float) else seconds
    ends = np.cumsum(durations)
    for number in range(round(float(ends[-1]) * fps) if len(ends) else 0):
        face = faces[min(int(np.searchsorted(ends, number / fps + 1e-9, side="right")), len(faces) - 1)]
        head = scaled(face, height * size_wh[1] / face.shape[0])
        frame = Image.fromarray(background)
        frame.paste(Image.fromarray(head), ((size_wh[0] - head.shape[1]) // 2, (size_wh[1] - head.shape[0]) // 2))
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
        fps: frame rate in the header of the file, also with `timestamps_s`.
        timestamps_s: ascending times of the frames; there may be more times than frames.
        audio: add a tone of 440 Hz as AAC, as long as the video.
        rotation: 0, 90, 180 or 270 degrees clockwise: pixels are stored rotated, with a display matrix that rotates
            them back, as phones do; only in .mp4.
        codec: libx264, or mpeg4 where it is missing.
    """
    if rotation and path.suffix != ".mp4":
        raise ValueError("rotation is only supported in .mp4.")
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
    """Yield a sine wave in frames of 1,024 samples."""
    samples = 0.2 * np.sin(2 * np.pi * hz / rate * np.arange(round(seconds * rate)))
    for start in range(0, len(samples), 1024):
        part = av.AudioFrame.from_ndarray(
            samples[None, start : start + 1024].astype(np.float32), format="fltp", layout="mono"
        )
        part.sample_rate, part.pts, part.time_base = rate, start, Fraction(1, rate)
        yield part


def with_rotation(mp4: bytes, clockwise: int) -> bytes:
    """Return the bytes of an MP4 with a display matrix that rotates the video clockwise."""
    data = bytearray(mp4)
    # The first track is the video; in version 0 the matrix follows after 40 bytes.
    at = data.index(b"tkhd") + 4
    assert data[at] == 0
    width, height = struct.unpack(">II", data[at + 76 : at + 84])
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[clockwise]
    shift_x = {90: height, 180: width, 270: 0}[clockwise]
    shift_y = {90: 0, 180: height, 270: width}[clockwise]
    one = 1 << 16
    matrix = [cos * one, sin * one, 0, -sin * one, cos * one, 0, shift_x, shift_y, 1 << 30]
    data[at + 40 : at + 76] = struct.pack(">9i", *matrix)
    return bytes(data)


def image_times(path: Path) -> list[float]:
    """Return the time of each frame in seconds."""
    with av.open(str(path)) as container:
        return [round(float(frame.pts * frame.time_base), 4) for frame in container.decode(video=0)]


def audio_seconds(path: Path) -> float:
    """Return the duration of the audio; 0 without audio."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0.0
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


if __name__ == "__main__":
    write_clip(Path(sys.argv[1]), (frame for frame, _ in crossing_frames()))
