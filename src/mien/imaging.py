"""Decode, warp and resize: the only preprocessing code, used by training and by every way in.

Inside mien an image is `(H, W, 3) uint8 RGB`, upright. Files in BGR, CMYK, 16 bit or with an EXIF rotation
end here.
"""

from __future__ import annotations

import io
import math
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np

from mien.errors import ImageReadError, InputError
from mien.geometry import compose, invert, transform_points

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 120_000_000
"""Largest image that is decoded (width x height); its pixels take 360 MB."""
MAX_JPEG_SCANS = 100
"""Maximum number of scans of a JPEG. Progressive files have about ten; decoding time grows with every scan."""

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
"""File name endings, in lower case, of the formats that Pillow reads by itself: images in a folder or a zip."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What the box at the beginning of a HEIC file names."""
UNREAD = "is not an image that mien can read"
UNREAD_HEIC = (
    "is HEIC, which mien cannot read: save it as JPEG, or hand over a Pillow image made with pillow-heif"
)
HEIC_SUFFIXES = (".heic", ".heif")
"""Endings of images that Pillow does not read by itself: in a folder they are told of, not passed over."""

SCALED_FORMATS = ("PPM",)
"""Formats whose 32-bit integers Pillow has scaled to 0..65535."""
_WIDE = {"F": "floating-point", "I": "32-bit integer"}

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image | np.ndarray"
)
"""What callers may hand over as an image."""


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read any image as upright RGB.

    EXIF orientation is applied, 16-bit gray is scaled to 8 bits, transparency is laid over white, palettes
    and CMYK are converted, and of an animation the first frame is taken.

    Args:
        source: a path, the encoded bytes, an open binary file, a Pillow image, or pixels
            `(H, W, 3) uint8 RGB`, which are checked and returned as they are.
        max_pixels: larger images are refused before they are decoded; so are, with any number, those beyond Pillow's
            own limit, 179 million unless `PIL.Image.MAX_IMAGE_PIXELS` is changed.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageReadError: when the file is missing, empty, broken, too large or no image.
        InputError: when pixels of another shape or type, or something else, are handed over.
    """
    if isinstance(source, np.ndarray):
        return check_image(source)
    if is_pillow(source):
        return check_image(_decode(lambda: nullcontext(source), "the image", max_pixels))
    name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else "the image"
    data = _read_bytes(source, name)
    if not data:
        raise ImageReadError(f"{name} is empty (0 bytes).")
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise ImageReadError(f"{name} is a JPEG with more than {MAX_JPEG_SCANS} scans; save it again.")
    is_heic = data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS
    return _decode(lambda: _open(data), name, max_pixels, unknown=UNREAD_HEIC if is_heic else UNREAD)


def check_image(image: np.ndarray) -> np.ndarray:
    """The image itself when it is `(H, W, 3) uint8` and not empty; an InputError otherwise."""
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"expected an image (H, W, 3) uint8 RGB, got {type(image).__name__}; see `read_image`."
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"expected an image (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}.")
    if 0 in image.shape:
        raise InputError(f"the image is empty: {image.shape}.")
    return image


def is_pillow(source: object) -> TypeGuard[Image]:
    """Whether this is a Pillow image; Pillow is not loaded to find out."""
    image = getattr(sys.modules.get("PIL.Image"), "Image", None)  # another thread may be loading it just now
    return image is not None and isinstance(source, image)


def _read_bytes(source: object, name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    try:
        if isinstance(source, str | os.PathLike):
            return Path(os.fsdecode(source)).read_bytes()
        read = getattr(source, "read", None)
        data = read() if callable(read) and not isinstance(source, io.TextIOBase) else None
    except (
        OSError,
        ValueError,
    ) as error:  # a ValueError where the name itself cannot be, or the file is closed
        problem = getattr(error, "strerror", None) or str(error)
        raise ImageReadError(f"{name}: {problem.lower()}.") from None
    if not isinstance(data, bytes):
        raise InputError(
            "expected an image's path, its bytes, a file opened in binary mode, a Pillow image or pixels "
            f"(H, W, 3) uint8 RGB, got {type(source).__name__}."
        )
    return data


def _open(data: bytes) -> Image:
    from PIL import Image

    return Image.open(io.BytesIO(data))


def _decode(
    open_image: Callable[[], AbstractContextManager[Image]],
    name: str,
    max_pixels: int,
    unknown: str = UNREAD,
) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with _quiet_pillow(), open_image() as opened:
            return _load(opened, name, max_pixels)
    except ImageReadError:
        raise
    except UnidentifiedImageError:
        raise ImageReadError(f"{name} {unknown}.") from None
    except Image.DecompressionBombError:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise ImageReadError(f"{name} is too large: the limit is {limit / 1e6:.0f} million pixels.") from None
    except Exception as error:  # Pillow's decoders raise many kinds on broken files
        problem = " ".join(str(error).split()) or type(error).__name__
        raise ImageReadError(f"{name} is broken: {problem}.") from None


def _load(opened: Image, name: str, max_pixels: int) -> np.ndarray:
    from PIL import ImageOps

    width, height = opened.size
    if width * height > max_pixels:
        raise ImageReadError(
            f"{name} is too large: {width} x {height} pixels, the limit is {max_pixels / 1e6:.0f} million."
        )
    if opened.format in ("EPS", "WMF"):  # Pillow would start another program to draw them
        raise ImageReadError(f"{name} is a drawing ({opened.format}), no image: save it as PNG or JPEG.")
    if opened.mode == "F" or (opened.mode == "I" and opened.format not in SCALED_FORMATS):
        raise ImageReadError(
            f"{name} has {_WIDE[opened.mode]} pixels of unknown range: save it with 8 or 16 bits."
        )
    return _to_rgb(ImageOps.exif_transpose(opened))


_quiet_lock = threading.Lock()
_quiet_count = 0
_quiet_filters = warnings.catch_warnings()


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings about broken EXIF blocks and large images, which have our own rules.

    `warnings.catch_warnings` alone is not made for threads: two that overlap would leave the filters of the
    first.
    """
    global _quiet_count, _quiet_filters
    with _quiet_lock:
        if _quiet_count == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_count += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_count -= 1
            if _quiet_count == 0:
                _quiet_filters.__exit__(None, None, None)


def _to_rgb(image: Image) -> np.ndarray:
    """Pixels of a decoded Pillow image as (H, W, 3) uint8 RGB; integers of more than 8 bits are 0..65535."""
    from PIL import Image

    if image.mode.startswith("I"):
        gray = (np.asarray(image).astype(np.int64).clip(0, 65535) + 128) // 257
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def warp(image: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Map an image through a (2, 3) source-to-target transform into a new image of `size_hw`.

    Where the target is smaller than the source, whole blocks of k x k pixels are averaged first (k = the
    reduction, rounded), so that a large face does not alias; the rest is bilinear. Beyond the border its last
    pixels repeat.

    Raises:
        InputError: when the whole image would shrink to less than one pixel.

    Source:
        The two steps are those of a mip-map; written so that a browser can repeat them pixel by pixel.
    """
    from PIL import Image

    height, width = size_hw
    if not math.sqrt(abs(np.linalg.det(matrix[:, :2]))) * max(image.shape[:2]) >= 1:
        raise InputError("the transform shrinks the image to nothing: are its landmarks a face's?")
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    wanted = transform_points(invert(matrix), corners)
    patch, to_patch = _reduced_patch(image, wanted, reduction_factor(matrix))
    to_source = invert(compose(matrix, invert(to_patch)))
    warped = Image.fromarray(patch).transform(
        (width, height), Image.Transform.AFFINE, to_source.ravel().tolist(), Image.Resampling.BILINEAR
    )
    return np.array(warped)


def reduction_factor(matrix: np.ndarray) -> int:
    """How many pixels each way `warp` averages to one before it goes through a (2, 3) transform."""
    return max(1, round(1 / math.sqrt(abs(np.linalg.det(matrix[:, :2])))))


def _reduced_patch(image: np.ndarray, wanted_xy: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that the points span, k x k pixels averaged to one and padded beyond the border.

    Returns:
        The patch (h, w, 3) uint8 and the (2, 3) transform from image to patch pixels.
    """
    limit = np.array(image.shape[1::-1])
    low, high = np.floor(wanted_xy.min(axis=0)) - k, np.ceil(wanted_xy.max(axis=0)) + k
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
    """Every k x k block averaged to one pixel; at the right and bottom the last column and row repeat."""
    if k == 1:
        return np.ascontiguousarray(image)
    height, width = image.shape[:2]
    if height % k or width % k:
        image = np.pad(image, ((0, -height % k), (0, -width % k), (0, 0)), mode="edge")
    kind = np.uint16 if k <= 16 else np.uint32  # narrow is faster; 16 * 16 * 255 and the rounding fit 16 bits
    rows = np.zeros((image.shape[0] // k, image.shape[1], 3), dtype=kind)
    for place in range(k):
        rows += image[place::k]
    sums = np.full((rows.shape[0], rows.shape[1] // k, 3), k * k // 2, dtype=kind)
    for place in range(k):
        sums += rows[:, place::k]
    return (sums // (k * k)).astype(np.uint8)


def resize(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Stretch an image to `size_hw` (bilinear, antialiased).

    Source:
        Pillow's `Image.resize` with BILINEAR, whose support grows with the reduction.
    """
    from PIL import Image

    height, width = size_hw
    return np.array(
        Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    )
