"""Image decoding, warping and resizing.

An image in mien is `(H, W, 3) uint8 RGB`, upright. BGR, CMYK, 16-bit and EXIF-rotated files are converted here.
"""

from __future__ import annotations

import inspect
import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard

import numpy as np

from mien.addresses import path_problem
from mien.errors import ImageReadError, InputError, reason
from mien.geometry import determinant, invert
from mien.image_decoding import DecodedImage, check_size, decode_file, decode_pillow
from mien.media_formats import IMAGE_SUFFIXES
from mien.pixels import to_8_bits

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 120_000_000
"""Default maximum number of pixels of an image; an image of this size takes 360 MB."""

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image | np.ndarray"
"""Types accepted as an image."""

Color: TypeAlias = Literal["rgb", "bgr"]
"""Order of the channels of an array: "rgb", or "bgr" as from OpenCV."""

_MAX_PATH_BYTES = 1000
_SUFFIX_BYTES = tuple(suffix.encode("ascii") for suffix in IMAGE_SUFFIXES)


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, color: Color = "rgb") -> np.ndarray:
    """Read an image as upright RGB of 8 bits.

    Applies the EXIF orientation, composites transparency over white, converts palettes and CMYK, and takes the first
    frame of an animation. Gray values and colors of more than 8 bits, and floating-point ones, are scaled by the range
    in use: see `mien.pixels.to_8_bits`.

    Args:
        source: path, encoded bytes, open binary file (read from its start), Pillow image, or pixels: (H, W, 3) uint8
            RGB are validated and returned unchanged, other uint8 or uint16 pixels, (H, W) or (H, W, 3), are converted.
        max_pixels: maximum width x height, also of arrays; larger files are rejected before decoding, by Pillow's own
            limit too: 179 million by default, see `PIL.Image.MAX_IMAGE_PIXELS`.
        color: order of the channels of pixels; "bgr" for those of OpenCV. Files and Pillow images state their own.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageReadError: when the file is missing, empty, corrupt, too large or not an image.
        InputError: on pixels of another shape or type, or a source of another type.
    """
    return read_reduced(source, None, max_pixels=max_pixels, color=color).pixels


def read_reduced(
    source: ImageSource, min_side: int | None, *, max_pixels: int = MAX_PIXELS, color: Color = "rgb"
) -> DecodedImage:
    """Read an image as `read_image` does, a large JPEG at a reduced size.

    Args:
        source: see `read_image`.
        min_side: minimum long side of the pixels of a reduced JPEG; None reads the whole image.
        max_pixels: see `read_image`.
        color: see `read_image`.
    """
    check_color(color)
    if is_pillow(source):
        pixels = check_image(decode_pillow(source, "the image", max_pixels))
        return DecodedImage(pixels, pixels.shape[:2])
    if is_array(source):
        pixels = _read_array(source, color, max_pixels)
        return DecodedImage(pixels, pixels.shape[:2])
    try:
        name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else "the image"
    except Exception as error:
        raise InputError(f"{type(source).__name__} is not a path: {error}.") from None
    data = _read_bytes(source, name)
    if not data:
        raise ImageReadError(f"{name} is empty (0 bytes).")
    # by the name, because the existence of a file is not for a client of a server to learn
    if isinstance(source, bytes) and len(data) < _MAX_PATH_BYTES and data.lower().endswith(_SUFFIX_BYTES):
        raise InputError(f"bytes are read as the content of a file, got a path; pass os.fsdecode({data!r}).")
    return decode_file(data, name, max_pixels, min_side)


def check_color(color: object) -> None:
    """Raise `InputError` unless `color` is an order of channels."""
    if color not in ("rgb", "bgr"):
        raise InputError(f"color is {color!r}; expected 'rgb' or 'bgr'.")


def check_image(image: np.ndarray) -> np.ndarray:
    """Return the image unchanged; raise `InputError` unless it is `(H, W, 3) uint8` and not empty."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"expected an image (H, W, 3) uint8 RGB, got {type(image).__name__}; see `read_image`.")
    _check_pixels(image)
    return image


def _check_pixels(image: np.ndarray, first_step: str = "") -> None:
    """Raise `InputError` unless an array is `(H, W, 3) uint8` and not empty.

    Args:
        image: the array.
        first_step: start of the hint how to convert it.
    """
    if 0 in image.shape:
        raise InputError(f"the image is empty: {image.shape}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"expected an image (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}; "
            f"{first_step}{_conversion_hint(image)}."
        )


def is_pillow(source: object) -> TypeGuard[Image]:
    """Return whether `source` is a Pillow image, without importing Pillow."""
    # The attribute is missing while another thread imports Pillow.
    image = getattr(sys.modules.get("PIL.Image"), "Image", None)
    return image is not None and isinstance(source, image)


def is_repeatable(source: object) -> bool:
    """Return whether a source is encoded and can be read twice: bytes or a file, but no pipe or open file."""
    if not isinstance(source, str | os.PathLike):
        return isinstance(source, bytes)
    try:
        return Path(source).is_file()
    except Exception:  # reading it reports the problem; a path object of others raises anything
        return False


def is_array(source: object) -> TypeGuard[np.ndarray]:
    """Return whether `source` is an array of numpy or one that converts to it, such as a tensor of torch."""
    is_array_like = hasattr(source, "__array__") and hasattr(source, "shape") and not isinstance(source, np.generic)
    return isinstance(source, np.ndarray) or is_array_like


def _read_array(source: np.ndarray, color: Color, max_pixels: int) -> np.ndarray:
    if isinstance(source, np.ma.MaskedArray):
        raise InputError("expected an image (H, W, 3) uint8 RGB, got a masked array; pass image.filled(255).")
    try:
        image = np.asarray(source)
    except Exception as error:
        # Arrays on a GPU raise exceptions of many types.
        to_known_type = ".float()" if str(getattr(source, "dtype", "")) == "torch.bfloat16" else ""
        raise InputError(
            f"{type(source).__name__} does not convert to a numpy array: {reason(error)}. "
            f"Pass image.detach().cpu(){to_known_type}.numpy() (torch) or image.get() (CuPy)."
        ) from None
    if image.ndim in (2, 3):
        check_size(image.shape[1], image.shape[0], "the image", max_pixels)
    if image.dtype.name in ("uint8", "uint16") and image.size:
        image = to_8_bits(image)
        if image.ndim == 2 or image.shape[2:] == (1,):
            image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    _check_pixels(image, "" if isinstance(source, np.ndarray) else "set image = np.asarray(image), then ")
    return image if color == "rgb" else np.ascontiguousarray(image[:, :, ::-1])


def _conversion_hint(image: np.ndarray) -> str:
    """Return how to convert an array of another shape or type to an image."""
    if image.dtype.kind not in "buif":
        return "pass an array of numbers"
    hints = []
    if image.ndim == 4:
        hints.append("pass a batch (N, H, W, 3) to analyze_many, or one of its images")
    elif image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
        hints.append("move the channels to the end: image.transpose(1, 2, 0)")
    elif image.ndim == 3 and image.shape[2] == 4:
        hints.append("drop the alpha channel: image[:, :, :3]")
    elif image.ndim == 2 or image.shape[2:] == (1,):
        hints.append("repeat the gray channel: np.stack([image] * 3, axis=-1)")
    elif image.ndim != 3 or image.shape[2] != 3:
        hints.append("an image has three channels at the end")
    if image.dtype.kind == "f":
        hints.append("convert values 0..1 by (image * 255).astype(np.uint8), values 0..255 by image.astype(np.uint8)")
    elif image.dtype.kind == "b":
        hints.append("convert by image.astype(np.uint8) * 255")
    elif image.dtype != np.uint8:
        hints.append("convert values 0..255 by image.astype(np.uint8), larger ones by image.astype(np.uint16)")
    return "; ".join(hints)


def _read_bytes(source: Any, name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    is_path = isinstance(source, str | os.PathLike)
    if is_path and (problem := path_problem(name)) and not os.path.exists(name):  # noqa: PTH110 - any text
        raise ImageReadError(problem)
    if is_path and os.path.isdir(name):  # noqa: PTH112 - any text
        raise ImageReadError(f"{name} is a directory; give the paths of its images.")
    try:
        if is_path:
            return Path(name).read_bytes()
        read = getattr(source, "read", None)
        data = _read_from_start(source, read) if callable(read) and not isinstance(source, io.TextIOBase) else None
    except FileNotFoundError as error:
        raise ImageReadError(f"{name}: {reason(error)}{_path_hint(name)}.") from None
    except Exception as error:
        # ValueError: the path contains a null character, or the file is closed. Files of others raise any exception.
        raise ImageReadError(f"{name}: {reason(error)}.") from None
    if inspect.iscoroutine(data):
        data.close()
        raise InputError(f"{type(source).__name__} is read asynchronously; pass its bytes: await image.read().")
    if not isinstance(data, bytes):
        raise InputError(
            "expected a path, bytes, a file opened in binary mode, a Pillow image or pixels (H, W, 3) uint8 RGB, "
            f"got {type(source).__name__}{_type_hint(source)}."
        )
    return data


def _read_from_start(file: Any, read: Callable[[], Any]) -> Any:
    """Return the content of a file, from its start if it is seekable, as Pillow does."""
    if hasattr(file, "seekable") and file.seekable() and not inspect.iscoroutinefunction(read):
        file.seek(0)
    return read()


def _type_hint(source: object) -> str:
    if isinstance(source, list | tuple):
        return "; use analyze_many for several images, and np.array(image, np.uint8) for a list of pixel values"
    if isinstance(source, io.TextIOBase):
        return ': open(path, "rb")'
    return ""


def _path_hint(name: str) -> str:
    """Return why a path may not exist."""
    if name.startswith("~"):
        return "; expand the home directory: Path(path).expanduser()"
    if any(character in name for character in "*?["):
        return "; expand the pattern: analyze_many(sorted(glob.glob(pattern)))"
    return ""


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
    if not math.sqrt(abs(determinant(matrix))) * max(image.shape[:2]) >= 1:
        raise InputError("the transform shrinks the image to less than one pixel; check the landmarks.")
    k = reduction_factor(matrix)
    (a, b, x), (c, d, y) = invert(matrix).tolist()
    corners_x = [x, a * width + x, a * width + b * height + x, b * height + x]
    corners_y = [y, c * width + y, c * width + d * height + y, d * height + y]
    patch, (left, top) = _reduced_patch(image, corners_x, corners_y, k)
    to_patch = (a / k, b / k, x / k - left, c / k, d / k, y / k - top)
    warped = Image.fromarray(patch).transform(
        (width, height), Image.Transform.AFFINE, to_patch, Image.Resampling.BILINEAR
    )
    return np.array(warped)


def reduction_factor(matrix: np.ndarray) -> int:
    """Return the side k of the pixel blocks that `warp` averages before it applies a (2, 3) transform."""
    return max(1, round(1 / math.sqrt(abs(determinant(matrix)))))


def _reduced_patch(
    image: np.ndarray, corners_x: list[float], corners_y: list[float], k: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Crop the part of an image that the corners span, averaged by k x k and padded outside the image.

    Returns the patch (h, w, 3) uint8 and its left and top edge in blocks of the image.
    """
    height, width = image.shape[:2]
    x1, x2, before_x, after_x = _block_range(corners_x, width, k)
    y1, y2, before_y, after_y = _block_range(corners_y, height, k)
    patch = average_blocks(image[y1:y2, x1:x2], k)
    if before_x or after_x or before_y or after_y:
        patch = _repeat_edges(patch, (before_y, after_y), (before_x, after_x))
    return patch, (x1 // k - before_x, y1 // k - before_y)


def _block_range(corners: list[float], limit: int, k: int) -> tuple[int, int, int, int]:
    """Return start and end of the pixels in the image, and the numbers of blocks outside it before and after."""
    low = math.floor(min(corners)) - k
    high = math.ceil(max(corners)) + k
    start = min(max(low, 0), limit - 1) // k * k
    end = min(max(high, start + 1), max(limit, start + 1))
    before = max(math.ceil((start - low) / k), 0)
    after = max(math.ceil((high - start) / k) - math.ceil((end - start) / k), 0)
    return start, end, before, after


def _repeat_edges(image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """Repeat the first and last rows and columns; `np.pad` takes several times as long for a crop."""
    (top, bottom), (left, right) = rows, columns
    height, width, channels = image.shape
    padded = np.empty((top + height + bottom, left + width + right, channels), dtype=image.dtype)
    middle = padded[top : top + height]
    middle[:, left : left + width] = image
    middle[:, :left] = image[:, :1]
    middle[:, left + width :] = image[:, -1:]
    padded[:top] = middle[:1]
    padded[top + height :] = middle[-1:]
    return padded


def average_blocks(image: np.ndarray, k: int) -> np.ndarray:
    """Average blocks of k x k pixels; the last column and row are repeated to whole blocks."""
    if k == 1:
        return np.ascontiguousarray(image)
    height, width = image.shape[:2]
    if height % k or width % k:
        image = _repeat_edges(image, (0, -height % k), (0, -width % k))
    # 16 * 16 * 255 plus rounding fits 16 bits, which is faster.
    kind = np.uint16 if k <= 16 else np.uint32
    rows = image[::k].astype(kind)
    for offset in range(1, k):
        rows += image[offset::k]
    averages = np.empty((rows.shape[0], rows.shape[1] // k, 3), dtype=np.uint8)
    # a channel at a time, because loops over long rows are faster
    for channel in range(3):
        sums = np.full(averages.shape[:2], k * k // 2, dtype=kind)
        for offset in range(k):
            sums += rows[:, offset::k, channel]
        averages[:, :, channel] = sums // (k * k)
    return averages


def resize(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize an image to `size_hw` without keeping the aspect ratio (bilinear, antialiased).

    Source:
        Pillow's `Image.resize` with BILINEAR, whose support grows with the reduction factor.
    """
    from PIL import Image

    height, width = size_hw
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
