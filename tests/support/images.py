"""Test images derived from the portraits in `examples/`: crowds, rotated, scaled, degraded and corrupt ones.

`python tests/support/images.py` rebuilds `examples/group.jpg`.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

EXAMPLES = Path(__file__).parents[2] / "examples"
PORTRAITS = {"astronaut": (178, 63, 269, 176), "obama": (326, 79, 537, 368), "biden": (291, 115, 480, 384)}
"""File stem and face box (x1, y1, x2, y2) of each portrait."""


@cache
def portrait(name: str) -> np.ndarray:
    """Load a portrait of `examples/` as read-only (H, W, 3) uint8 RGB."""
    image = np.array(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB"))
    image.flags.writeable = False
    return image


def bust(name: str, *, room: float = 0.6) -> np.ndarray:
    """Crop the head of a portrait, with up to `room` face heights on every side."""
    image = portrait(name)
    x1, y1, x2, y2 = PORTRAITS[name]
    border = round(room * (y2 - y1))
    return image[max(0, y1 - border) : y2 + border, max(0, x1 - border) : x2 + border]


def scaled_to_face(name: str, face_px: float, *, room: float = 0.6) -> np.ndarray:
    """Return a bust with a face height of `face_px` pixels."""
    _, y1, _, y2 = PORTRAITS[name]
    return scaled(bust(name, room=room), face_px / (y2 - y1))


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def mirrored(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])


def rotated(image: np.ndarray, clockwise_deg: float) -> np.ndarray:
    """Rotate an image about its center, on a canvas that contains all of it."""
    source = Image.fromarray(image)
    return np.array(source.rotate(-clockwise_deg, Image.Resampling.BICUBIC, expand=True, fillcolor=(120, 120, 120)))


def gray(image: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(image).convert("L").convert("RGB"))


def blurred(image: np.ndarray, radius_px: float) -> np.ndarray:
    return np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius_px)))


def noisy(image: np.ndarray, deviation: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def filling(name: str, long_side: int = 600) -> np.ndarray:
    """Return an image filled by the face of a portrait."""
    x1, y1, x2, y2 = PORTRAITS[name]
    face = portrait(name)[y1:y2, x1:x2]
    return scaled(face, long_side / max(face.shape[:2]))


def no_face(size_hw: tuple[int, int] = (480, 640)) -> np.ndarray:
    """Return a color gradient with a little noise."""
    height, width = size_hw
    rows, columns = np.linspace(0, 25, height)[:, None, None], np.linspace(0, 20, width)[None, :, None]
    return noisy(np.array([205.0, 196.0, 184.0]) - rows - columns, 2)


def painted_disk() -> np.ndarray:
    """Return a painted disk with holes that the detector reports as a face with a confidence of 0.77."""
    image = Image.new("RGB", (320, 320), (190, 156, 158))
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((85, 63, 235, 257), fill=(217, 174, 113))
    for center in (119, 201):
        canvas.ellipse((center - 18, 112.4, center + 18, 137.6), fill=(57, 37, 27))
    canvas.ellipse((132, 202, 188, 218), fill=(57, 37, 27))
    canvas.ellipse((150, 155, 170, 175), fill=(173, 139, 90))
    return np.array(image.filter(ImageFilter.GaussianBlur(3.9)))


def crowd(rows: int, columns: int, face_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of busts with faces of height `face_px`, and the face centers (rows * columns, 2)."""
    cell = round(2 * face_px)
    image = no_face((rows * cell, columns * cell)).copy()
    centers = np.zeros((rows * columns, 2))
    for index in range(rows * columns):
        name = ("astronaut", "obama")[index % 2]
        head = scaled_to_face(name, face_px, room=0.4)
        if index // columns % 2:
            head = mirrored(head)
        row, column = divmod(index, columns)
        top = row * cell + (cell - head.shape[0]) // 2
        left = column * cell + (cell - head.shape[1]) // 2
        image[top : top + head.shape[0], left : left + head.shape[1]] = head
        centers[index] = left + head.shape[1] / 2, top + head.shape[0] / 2
    return image, centers


@dataclass(frozen=True)
class Photograph:
    """Photograph in `photo_wall`."""

    name: str
    center_xy: tuple[int, int]
    face_px: int
    clockwise_deg: float = 0
    is_mirrored: bool = False
    is_gray: bool = False


GROUP = (
    Photograph("obama", (240, 300), 250),
    Photograph("astronaut", (606, 250), 150, is_mirrored=True),
    Photograph("biden", (880, 180), 110, clockwise_deg=-12, is_gray=True),
    Photograph("astronaut", (1120, 200), 130, clockwise_deg=8),
    Photograph("astronaut", (600, 610), 120, is_gray=True),
    Photograph("biden", (900, 565), 175, is_mirrored=True),
    Photograph("astronaut", (1160, 480), 64, is_mirrored=True),
    Photograph("obama", (1160, 650), 48),
    Photograph("obama", (90, 700), 36, is_mirrored=True),
    Photograph("astronaut", (200, 700), 44, clockwise_deg=-6),
    Photograph("biden", (320, 700), 56),
)


def photo_wall(photographs: tuple[Photograph, ...] = GROUP, size_hw: tuple[int, int] = (800, 1280)) -> np.ndarray:
    """Compose framed photographs of several sizes on a wall."""
    wall = Image.fromarray(no_face(size_hw))
    for photograph in photographs:
        head = scaled_to_face(photograph.name, photograph.face_px, room=0.45)
        head = mirrored(head) if photograph.is_mirrored else head
        head = gray(head) if photograph.is_gray else head
        frame = max(2, photograph.face_px // 20)
        framed = Image.fromarray(np.pad(head, ((frame, frame), (frame, frame), (0, 0)), constant_values=248))
        tile = framed.convert("RGBA").rotate(
            -photograph.clockwise_deg, Image.Resampling.BICUBIC, expand=True, fillcolor=(0, 0, 0, 0)
        )
        x, y = photograph.center_xy
        wall.paste(tile, (x - tile.width // 2, y - tile.height // 2), tile)
    return np.array(wall)


def encoded(image: np.ndarray | Image.Image, format_name: str, **options: object) -> bytes:
    """Encode an image as the bytes of a file."""
    pillow_image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    pillow_image.save(file, format_name, **options)
    return file.getvalue()


_UPRIGHT_TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored_rotated(image: np.ndarray, orientation: int, format_name: str = "JPEG") -> bytes:
    """Encode a file with rotated or flipped pixels and the EXIF orientation that restores them."""
    pillow_image = Image.fromarray(image)
    transpose = _UPRIGHT_TO_STORED[orientation]
    stored = pillow_image if transpose is None else pillow_image.transpose(transpose)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if format_name == "JPEG" else {}
    return encoded(stored, format_name, exif=exif, **options)


def large_png(width: int, height: int) -> bytes:
    """Encode a black 1-bit PNG of any size; 20,000 x 20,000 takes 50 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(6)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def corrupt_files() -> dict[str, bytes]:
    """Return the bytes of corrupt image files by name."""
    jpeg, png = encoded(portrait("astronaut"), "JPEG"), encoded(portrait("astronaut")[:64, :64], "PNG")
    return {
        "empty.jpg": b"",
        "text.jpg": b"This is a letter, not an image.\n" * 20,
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": png[: len(png) // 2],
        "header_only.png": png[:33],
        "signature_only.jpg": jpeg[:4],
        "zeros.png": bytes(4096),
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
    }


if __name__ == "__main__":
    Image.fromarray(photo_wall()).save(EXAMPLES / "group.jpg", quality=88, optimize=True)
