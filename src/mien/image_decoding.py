"""Decoding of image files with Pillow: upright RGB of 8 bits from every mode, depth and orientation."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ImageReadError, ImageTooLargeError
from mien.image_metadata import without_metadata
from mien.media_formats import RAW_PROBLEM, describe_unsupported, is_raw
from mien.pixels import FULL_SCALES, MIN_SPAN, to_8_bits, values_in_use

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_JPEG_SCANS = 100
"""Maximum number of scans of a JPEG. Progressive files have about ten; decoding time grows with every scan."""
ORIENTATION_TAG = 0x0112
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
_JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
_SWAPPED_BYTES = {"B": "L", "L": "B", "N": "B"}
"""Byte orders of Pillow's raw modes of 16-bit color, and those that decode the low bytes instead of the high ones."""
_RAW_16_BITS = ("RGB;16", "RGBA;16", "LA;16")
"""Raw modes that Pillow decodes without their low bytes."""
_MAX_HIGH_BYTE = FULL_SCALES[-2] // 256
"""Largest high byte of 16-bit color below which its low bytes matter."""


_JPEG_SCALES = (8, 4, 2)
"""Reductions that libjpeg computes from the coefficients of a JPEG, in less time than the whole image."""
_COPIED_ROWS = 256
"""Rows of a Pillow image that are copied at a time; Pillow holds them three times."""


@dataclass(frozen=True)
class DecodedImage:
    """Pixels of an image, perhaps at a reduced size.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, upright.
        size_hw: height and width of the whole upright image in pixels.
        scale: reduction: the coordinates of `pixels` times the scale are those of the image, within scale - 1 pixels.
    """

    pixels: np.ndarray
    size_hw: tuple[int, int]
    scale: int = 1


def decode_file(data: bytes, name: str, max_pixels: int, min_side: int | None = None) -> DecodedImage:
    """Decode the bytes of an image file; if they cannot be decoded, again without large or invalid metadata.

    Args:
        data: encoded image.
        name: start of the messages of errors.
        max_pixels: maximum width x height of the whole image.
        min_side: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if its long side keeps this many pixels; by default
            at its full size.

    Raises:
        ImageReadError: when the data are not an image, or are corrupt or too large.
    """
    if data.startswith(b"\xff\xd8") and _count_jpeg_scans(data) > MAX_JPEG_SCANS:
        raise ImageReadError(f"{name} is a JPEG with more than {MAX_JPEG_SCANS} scans; save it again.")
    try:
        return _decode(data, name, max_pixels, min_side)
    except ImageReadError as error:
        bare = without_metadata(data)
        if bare == data:
            raise
        try:
            return _decode(bare, name, max_pixels, min_side)
        except ImageReadError:
            raise error from None


def decode_pillow(image: Image, name: str, max_pixels: int) -> np.ndarray:
    """Convert a Pillow image; see `decode_file`."""
    return _decode(image, name, max_pixels).pixels


def _decode(source: Image | bytes, name: str, max_pixels: int, min_side: int | None = None) -> DecodedImage:
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            _suppress_pillow_warnings(),
            Image.open(io.BytesIO(source)) if isinstance(source, bytes) else nullcontext(source) as opened,
        ):
            _check(opened, name, max_pixels)
            raw_mode = _raw_mode(opened)
            full_size = opened.size
            scale = _reduce(opened, min_side) if min_side else 1
            pixels = _to_rgb(opened)
            # Pillow rotates TIFF files while it decodes them, and reads the EXIF block of some PNG files last.
            orientation = _orientation(opened)
            if raw_mode in _RAW_16_BITS and isinstance(source, bytes) and _needs_low_bytes(pixels):
                pixels = to_8_bits(pixels.astype(np.uint16) * 256 + _decode_low_bytes(source))
    except ImageReadError:
        raise
    except UnidentifiedImageError:
        data = source if isinstance(source, bytes) else b""
        raise ImageReadError(f"{name} {describe_unsupported(name, data)}.") from None
    except Image.DecompressionBombError:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        kind = ImageTooLargeError if limit == max_pixels else ImageReadError
        raise kind(f"{name} is too large: the limit is {limit / 1e6:.3g} million pixels.") from None
    except Exception as error:
        # Pillow's decoders raise exceptions of many types on corrupt files.
        problem = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(source, bytes) and (isinstance(error, AssertionError) or "closed" in problem):
            raise ImageReadError(
                f"{name} is a Pillow image whose file is closed; use it in its `with` block or call load() there."
            ) from None
        raise ImageReadError(f"{name} is corrupt: {problem}.") from None
    pixels = _upright(pixels, orientation)
    if scale == 1:
        return DecodedImage(pixels, pixels.shape[:2])
    width, height = full_size if orientation < 5 else reversed(full_size)
    return DecodedImage(pixels, (height, width), scale)


def _reduce(opened: Any, min_side: int) -> int:
    """Let Pillow decode a JPEG at a reduced size; return the reduction, 1 if there is none."""
    if opened.format not in ("JPEG", "MPO"):
        return 1
    width, height = opened.size
    scale = next((scale for scale in _JPEG_SCALES if max(width, height) >= scale * min_side), 1)
    if scale > 1:
        # Pillow cannot reduce a side to nothing
        opened.draft(None, (max(1, width // scale), max(1, height // scale)))
    return round(max(width, height) / max(opened.size))


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise `ImageTooLargeError` if an image has more pixels than `max_pixels`."""
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} is too large: {width} x {height} pixels, the limit is {max_pixels / 1e6:.3g} million."
        )


def _check(opened: Image, name: str, max_pixels: int) -> None:
    check_size(*opened.size, name, max_pixels)
    if is_raw(name) or (opened.format == "TIFF" and _is_raw_tiff(opened)):
        raise ImageReadError(f"{name} {RAW_PROBLEM}.")
    if opened.format in ("EPS", "WMF"):
        # Pillow would start another program to render them.
        raise ImageReadError(f"{name} is a vector image ({opened.format}); convert it to PNG or JPEG.")


def _is_raw_tiff(opened: Any) -> bool:
    """Return whether the first image of a TIFF is the small preview of a raw camera file (DNG, NEF, ARW ...)."""
    return bool(_DNG_VERSION in opened.tag_v2 or opened.tag_v2.get(_SUBFILE_TYPE, 0) & 1)


def _to_rgb(image: Image) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB, as stored; modes of more than 8 bits are scaled by `to_8_bits`."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return np.repeat(to_8_bits(np.asarray(image))[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        # Pillow cannot convert premultiplied gray directly
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return _to_array(image if image.mode == "RGB" else image.convert("RGB"))


def _to_array(image: Image) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 of an RGB image, copied in parts to save memory."""
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _COPIED_ROWS):
        rows = slice(top, top + _COPIED_ROWS)
        pixels[rows] = np.asarray(image.crop((0, top, width, min(height, rows.stop))))
    return pixels


def _raw_mode(opened: Image) -> str:
    """Return the layout of the stored pixels without its byte order, such as "RGB;16"; empty once they are decoded."""
    tiles = getattr(opened, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments).rstrip("BLN")


def _needs_low_bytes(high_bytes: np.ndarray) -> bool:
    """Return whether `to_8_bits` may scale the pixels (H, W, 3): they have less than 16 bits, or a narrow range."""
    if high_bytes.max() <= _MAX_HIGH_BYTE:
        return True
    in_use = values_in_use(high_bytes)
    return in_use is not None and in_use[1] - in_use[0] <= 256 * MIN_SPAN


def _decode_low_bytes(data: bytes) -> np.ndarray:
    """Decode the low bytes of 16-bit color or gray, (H, W, 3) uint8; Pillow decodes the high ones."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        file: ImageFile = opened
        is_gray = _raw_mode(file) == "LA;16"
        file.tile = [tile._replace(args=_swap_bytes(tile.args)) for tile in file.tile]
        return np.array(file)[:, :, [1, 1, 1] if is_gray else [0, 1, 2]]


def _swap_bytes(arguments: object) -> object:
    if isinstance(arguments, tuple):
        return (_swap_bytes(arguments[0]), *arguments[1:])
    mode = str(arguments)
    if mode.startswith("LA"):
        # Pillow cannot swap these: as four bytes they are the gray value's high and low byte, and those of alpha
        return "RGBA"
    return mode[:-1] + _SWAPPED_BYTES[mode[-1]]


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, 1..8, whatever number type it is stored in; 1 when it is missing or invalid."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
        value = value[0] if isinstance(value, tuple | bytes) else value
        orientation = int(value)
    except Exception:
        # Pillow's parser raises exceptions of many types on corrupt blocks.
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels (H, W, 3) as the EXIF orientation shows them."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


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


_suppression_lock = threading.Lock()
_suppression_count = 0
_suppressing_filter: object = None


@contextmanager
def _suppress_pillow_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about corrupt EXIF blocks and large images.

    Of overlapping blocks in threads the first adds a filter and the last removes it. `warnings.catch_warnings` is not
    thread-safe: it would also remove filters that other threads have added meanwhile.
    """
    global _suppression_count, _suppressing_filter
    with _suppression_lock:
        if _suppression_count == 0:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _suppressing_filter = warnings.filters[0]
        _suppression_count += 1
    try:
        yield
    finally:
        with _suppression_lock:
            _suppression_count -= 1
            if _suppression_count == 0:
                with suppress(ValueError):  # the filters have been reset
                    warnings.filters.remove(_suppressing_filter)  # pyright: ignore
