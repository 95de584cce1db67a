"""Image decoding, warping and resizing.

An image in mien is `(H, W, 3) uint8 RGB`, upright. BGR, CMYK, 16-bit and EXIF-rotated files are converted here.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np

from mien.errors import ImageReadError, ImageTooLargeError, InputError
from mien.geometry import compose, invert, transform_points

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 120_000_000
"""Default maximum number of pixels of an image; an image of this size takes 360 MB."""
MAX_JPEG_SCANS = 100
"""Maximum number of scans of a JPEG. Progressive files have about ten; decoding time grows with every scan."""
_JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
"""Lower-case suffixes of the formats that Pillow reads without plugins; images in folders and zip files."""

HEIC_SUFFIXES = (".heic", ".heif")
"""Lower-case suffixes of images that Pillow reads only with a plugin; in a folder they are reported, not ignored."""
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands of HEIC files in their first box, `ftyp`."""
_UNSUPPORTED = "is not an image in a supported format"
_UNSUPPORTED_HEIC = "is a HEIC file; convert it to JPEG or pass a Pillow image opened with pillow-heif"

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image | np.ndarray"
"""Types accepted as an image."""


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image as upright RGB.

    Applies the EXIF orientation, scales 16-bit gray to 8 bits, composites transparency over white, converts palettes
    and CMYK, and takes the first frame of an animation.

    Args:
        source: path, encoded bytes, open binary file, Pillow image, or pixels `(H, W, 3) uint8 RGB`, which are
            validated and returned unchanged.
        max_pixels: maximum width x height; larger images are rejected before decoding. Pillow's own limit also applies:
            179 million by default, see `PIL.Image.MAX_IMAGE_PIXELS`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageReadError: when the file is missing, empty, corrupt, too large or not an image.
        InputError: on pixels of another shape or type, or a source of another type.
    """
    if isinstance(source, np.ndarray):
        return check_image(source)
    if is_pillow(source):
        return check_image(_decode(source, "the image", max_pixels))
    name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else "the image"
    data = _read_bytes(source, name)
    if not data:
        raise ImageReadError(f"{name} is empty (0 bytes).")
    if data.startswith(b"\xff\xd8") and _count_jpeg_scans(data) > MAX_JPEG_SCANS:
        raise ImageReadError(f"{name} is a JPEG with more than {MAX_JPEG_SCANS} scans; save it again.")
    is_heic = data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS
    problem = _UNSUPPORTED_HEIC if is_heic else _UNSUPPORTED
    return _decode(data, name, max_pixels, unsupported=problem)


def check_image(image: np.ndarray) -> np.ndarray:
    """Return the image unchanged; raise `InputError` unless it is `(H, W, 3) uint8` and not empty."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"expected an image (H, W, 3) uint8 RGB, got {type(image).__name__}; see `read_image`.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"expected an image (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}.")
    if 0 in image.shape:
        raise InputError(f"the image is empty: {image.shape}.")
    return image


def is_pillow(source: object) -> TypeGuard[Image]:
    """Return whether `source` is a Pillow image, without importing Pillow."""
    # The attribute is missing while another thread imports Pillow.
    image = getattr(sys.modules.get("PIL.Image"), "Image", None)
    return image is not None and isinstance(source, image)


def _read_bytes(source: object, name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    try:
        if isinstance(source, str | os.PathLike):
            return Path(os.fsdecode(source)).read_bytes()
        read = getattr(source, "read", None)
        data = read() if callable(read) and not isinstance(source, io.TextIOBase) else None
    except (OSError, ValueError) as error:
        # ValueError: the path contains a null character, or the file is closed.
        problem = getattr(error, "strerror", None) or str(error)
        raise ImageReadError(f"{name}: {problem.lower()}.") from None
    if not isinstance(data, bytes):
        raise InputError(
            "expected a path, bytes, a file opened in binary mode, a Pillow image or pixels (H, W, 3) uint8 RGB, "
            f"got {type(source).__name__}."
        )
    return data


def _count_jpeg_scans(data: bytes) -> int:
    """Count the scans of a JPEG, without those of thumbnails and of data after its end, as in motion photos."""
    scans = 0
    position = 2
    while match := _JPEG_SEGMENT.search(data, position):
        marker = data[match.start() + 1]
        length = int.from_bytes(data[match.end() : match.end() + 2], "big")
        if marker == _JPEG_END or length < 2:
            break
        scans += marker == _JPEG_SCAN
        position = match.end() + length
    return scans


def _decode(source: Image | bytes, name: str, max_pixels: int, unsupported: str = _UNSUPPORTED) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            _suppress_pillow_warnings(),
            Image.open(io.BytesIO(source)) if isinstance(source, bytes) else nullcontext(source) as opened,
        ):
            return _load(opened, name, max_pixels)
    except ImageReadError:
        raise
    except UnidentifiedImageError:
        raise ImageReadError(f"{name} {unsupported}.") from None
    except Image.DecompressionBombError:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        kind = ImageTooLargeError if limit == max_pixels else ImageReadError
        raise kind(f"{name} is too large: the limit is {limit / 1e6:.3g} million pixels.") from None
    except Exception as error:
        # Pillow's decoders raise exceptions of many types on corrupt files.
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"{name} is corrupt: {problem}.") from None


def _load(opened: Image, name: str, max_pixels: int) -> np.ndarray:
    from PIL import ImageOps

    width, height = opened.size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} is too large: {width} x {height} pixels, the limit is {max_pixels / 1e6:.3g} million."
        )
    if opened.format in ("EPS", "WMF"):
        # Pillow would start another program to render them.
        raise ImageReadError(f"{name} is a vector image ({opened.format}); convert it to PNG or JPEG.")
    # Pillow scales the integers of PPM files to 0..65535.
    if opened.mode == "F" or (opened.mode == "I" and opened.format != "PPM"):
        kind = "floating-point" if opened.mode == "F" else "32-bit integer"
        raise ImageReadError(f"{name} has {kind} pixels of unknown range; convert it to 8 or 16 bits.")
    return _to_rgb(ImageOps.exif_transpose(opened))


_suppression_lock = threading.Lock()
_suppression_count = 0
_suppressed_filters = warnings.catch_warnings()


@contextmanager
def _suppress_pillow_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about corrupt EXIF blocks and large images.

    `warnings.catch_warnings` is not thread-safe: of overlapping blocks only the first may save and the last restore the
    filters.
    """
    global _suppression_count, _suppressed_filters
    with _suppression_lock:
        if _suppression_count == 0:
            _suppressed_filters = warnings.catch_warnings()
            _suppressed_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _suppression_count += 1
    try:
        yield
    finally:
        with _suppression_lock:
            _suppression_count -= 1
            if _suppression_count == 0:
                _suppressed_filters.__exit__(None, None, None)


def _to_rgb(image: Image) -> np.ndarray:
    """Convert a decoded Pillow image to (H, W, 3) uint8 RGB; integers of more than 8 bits are 0..65535."""
    from PIL import Image

    if image.mode.startswith("I"):
        gray = (np.asarray(image).astype(np.int64).clip(0, 65535) + 128) // 257
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def warp(image: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Warp an image by a (2, 3) source-to-target transform into a new image of `size_hw`.

    When the transform shrinks, blocks of k x k pixels are averaged first (k is the rounded reduction factor) to avoid
    aliasing; the rest is bilinear. Border pixels are repeated outside the image.

    Raises:
        InputError: when the whole image would shrink to less than one pixel.

    Source:
        The two steps of a mipmap, defined so that the browser version gives the same pixels.
    """
    from PIL import Image

    height, width = size_hw
    if not math.sqrt(abs(np.linalg.det(matrix[:, :2]))) * max(image.shape[:2]) >= 1:
        raise InputError("the transform shrinks the image to less than one pixel; check the landmarks.")
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    source_corners = transform_points(invert(matrix), corners)
    patch, to_patch = _reduced_patch(image, source_corners, reduction_factor(matrix))
    to_source = invert(compose(matrix, invert(to_patch)))
    warped = Image.fromarray(patch).transform(
        (width, height), Image.Transform.AFFINE, to_source.ravel().tolist(), Image.Resampling.BILINEAR
    )
    return np.array(warped)


def reduction_factor(matrix: np.ndarray) -> int:
    """Return the side k of the pixel blocks that `warp` averages before it applies a (2, 3) transform."""
    return max(1, round(1 / math.sqrt(abs(np.linalg.det(matrix[:, :2])))))


def _reduced_patch(image: np.ndarray, corners_xy: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Crop the part of an image that the corners span, averaged by k x k and padded outside the image.

    Returns the patch (h, w, 3) uint8 and the (2, 3) transform from image to patch pixels.
    """
    limit = np.array(image.shape[1::-1])
    low, high = np.floor(corners_xy.min(axis=0)) - k, np.ceil(corners_xy.max(axis=0)) + k
    x1, y1 = np.clip(low, 0, limit - 1).astype(int) // k * k
    x2, y2 = np.clip(high, [x1 + 1, y1 + 1], np.maximum(limit, [x1 + 1, y1 + 1])).astype(int)
    patch = _average_blocks(image[y1:y2, x1:x2], k)
    before = np.maximum(np.ceil((np.array([x1, y1]) - low) / k), 0).astype(int)
    after = np.maximum(np.ceil((high - [x1, y1]) / k) - patch.shape[1::-1], 0).astype(int)
    if before.any() or after.any():
        patch = np.pad(patch, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    shift = before - np.array([x1, y1]) / k
    return patch, np.array([[1 / k, 0, shift[0]], [0, 1 / k, shift[1]]])


def _average_blocks(image: np.ndarray, k: int) -> np.ndarray:
    """Average blocks of k x k pixels; the last column and row are repeated to whole blocks."""
    if k == 1:
        return np.ascontiguousarray(image)
    height, width = image.shape[:2]
    if height % k or width % k:
        image = np.pad(image, ((0, -height % k), (0, -width % k), (0, 0)), mode="edge")
    # 16 * 16 * 255 plus rounding fits 16 bits, which is faster.
    kind = np.uint16 if k <= 16 else np.uint32
    rows = np.zeros((image.shape[0] // k, image.shape[1], 3), dtype=kind)
    for offset in range(k):
        rows += image[offset::k]
    sums = np.full((rows.shape[0], rows.shape[1] // k, 3), k * k // 2, dtype=kind)
    for offset in range(k):
        sums += rows[:, offset::k]
    return (sums // (k * k)).astype(np.uint8)


def resize(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize an image to `size_hw` without keeping the aspect ratio (bilinear, antialiased).

    Source:
        Pillow's `Image.resize` with BILINEAR, whose support grows with the reduction factor.
    """
    from PIL import Image

    height, width = size_hw
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
