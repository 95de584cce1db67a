"""Images of an iterable: validation of the iterable, names of the images, and copies of mutable ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike, fsdecode

import numpy as np

from mien.errors import InputError, MienError
from mien.imaging import Color, ImageSource, is_array, is_pillow, read_image
from mien.inference.options import AnalysisOptions


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image of an iterable.

    Attributes:
        name: its path, or its number.
        source: the image or a copy of it, or the reason why it cannot be read.
        path: its path, or None.
        is_array: true when it was given as pixels.
        color: order of the channels of `source` if it is an array.
    """

    name: str
    source: ImageSource | MienError
    path: ImageSource | None = None
    is_array: bool = False
    color: Color = "rgb"


def read_inputs(images: Iterable[ImageSource], options: AnalysisOptions, *, copy: bool) -> Iterator[InputImage]:
    """Yield the images of an iterable.

    Args:
        images: read lazily.
        options: their `max_pixels` and `color` are used.
        copy: copy mutable inputs (arrays, open files, Pillow images), so that another thread can read them whatever the
            caller does to the originals.
    """
    for index, image in enumerate(images):
        name = _path_name(image)
        item = InputImage(
            name=name or f"image {index}",
            source=image,
            path=image if name is not None else None,
            is_array=name is None and is_array(image),
            color=options.color,
        )
        yield _detach(item, image, options) if copy else item


def _path_name(image: object) -> str | None:
    """Return the name of a path; None where there is none."""
    if isinstance(image, str | PathLike):
        with suppress(Exception):  # paths of others raise any exception; reading them records it
            return fsdecode(image)
    return None


def check_images(images: object) -> None:
    """Raise `InputError` unless the argument is an iterable of images; one image, or a table, is iterable too."""
    kind = type(images).__name__
    if hasattr(images, "columns"):
        raise InputError(f"analyze_many expects several images, got a {kind}; pass the column of its paths.")
    is_one = isinstance(images, str | bytes | bytearray | memoryview | PathLike | np.generic) or hasattr(images, "read")
    is_pixels = False
    if is_array(images):
        is_pixels = images.ndim == 2 or (images.ndim == 3 and images.dtype != object)
        if is_pixels and images.ndim == 3 and images.shape[2] not in (1, 3, 4):
            raise InputError(
                f"analyze_many expects several images, got an array {tuple(images.shape)}; pass gray images (N, H, W) "
                "as list(images), and one image (H, W, 3) to analyze."
            )
    if is_one or is_pixels or is_pillow(images):
        raise InputError("analyze_many expects several images, a list or a generator; use analyze for one image.")
    if isinstance(images, Mapping):
        raise InputError(f"analyze_many expects several images, got a {kind}; pass its values: images.values().")
    if not isinstance(images, Iterable) and not hasattr(images, "__getitem__"):
        raise InputError(f"analyze_many expects several images, a list or a generator; got {kind}.")


def _detach(item: InputImage, image: ImageSource, options: AnalysisOptions) -> InputImage:
    """Return an item that another thread can read whatever the caller does to the image."""
    if isinstance(image, np.ndarray):
        return replace(item, source=image.copy())
    if isinstance(image, str | bytes | PathLike):
        return item
    try:
        pixels = read_image(image, max_pixels=options.max_pixels, color=options.color)
    except MienError as error:
        return replace(item, source=without_frames(error))
    return replace(item, source=pixels, color="rgb")


def without_frames(error: MienError) -> MienError:
    """Return an error without its traceback and context, whose frames would keep the image in memory."""
    error.__context__ = None
    return error.with_traceback(None)
