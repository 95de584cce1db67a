"""Decoding of images in background threads, ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from os import PathLike, fsdecode

import numpy as np

from mien.errors import InputError, MienError
from mien.imaging import ImageSource, is_array, is_pillow, read_image
from mien.inference.options import AnalysisOptions
from mien.runtime import usable_cores


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """An image of an iterable.

    Attributes:
        name: its path, or its number.
        path: its path, or None.
        is_array: true when it was given as pixels.
        pixels: (H, W, 3) uint8 RGB, or the reason why there are none.
    """

    name: str
    path: ImageSource | None = None
    is_array: bool = False
    pixels: np.ndarray | MienError = field(default_factory=lambda: MienError("not decoded"))


def decode_ahead(images: Iterable[ImageSource], count: int, options: AnalysisOptions) -> Generator[DecodedImage]:
    """Yield the images in order, decoding the next ones in the background.

    Mutable inputs (arrays, open files, Pillow images) are copied before the next item is requested. An exception of
    the iterable is raised after everything that preceded it was yielded.

    Args:
        images: read lazily.
        count: number of images decoded before they are requested; 0 decodes each when it is requested, in this thread.
        options: their `max_pixels` and `color` are used.
    """
    if count == 0:
        for index, image in enumerate(images):
            yield replace(_identify(index, image), pixels=_read(image, options))
        return
    numbered, failure = iter(enumerate(images)), None
    queue: deque[tuple[DecodedImage, Future[np.ndarray | MienError]]] = deque()
    pool = ThreadPoolExecutor(min(count, usable_cores()), thread_name_prefix="mien-decode")
    try:
        while True:
            try:
                for index, image in islice(numbered, count + 1 - len(queue)):
                    future = pool.submit(_read, _detach(image, options), options)
                    queue.append((_identify(index, image), future))
                    del future
                    del image
            except Exception as error:
                numbered, failure = iter(()), error
            if not queue:
                if failure is not None:
                    raise failure
                return
            item, future = queue.popleft()
            item = replace(item, pixels=future.result())
            del future  # it holds the pixels
            yield item
            del item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _identify(index: int, image: ImageSource) -> DecodedImage:
    """Return an image that is not decoded yet."""
    if isinstance(image, str | PathLike):
        with suppress(Exception):  # paths of others raise any exception; reading them records it
            return DecodedImage(name=fsdecode(image), path=image)
    return DecodedImage(name=f"image {index}", is_array=is_array(image))


def check_images(images: object) -> None:
    """Raise `InputError` unless the argument is an iterable of images; one image, or a table, is iterable too."""
    kind = type(images).__name__
    if hasattr(images, "columns"):
        raise InputError(f"analyze_many expects several images, got a {kind}; pass the column of its paths.")
    is_one = isinstance(images, str | bytes | bytearray | memoryview | PathLike | np.generic) or hasattr(images, "read")
    is_pixels = is_array(images) and (images.ndim == 2 or (images.ndim == 3 and images.dtype != object))
    if is_one or is_pixels or is_pillow(images):
        raise InputError("analyze_many expects several images, a list or a generator; use analyze for one image.")
    if isinstance(images, Mapping):
        raise InputError(f"analyze_many expects several images, got a {kind}; pass its values: images.values().")
    if not isinstance(images, Iterable) and not hasattr(images, "__getitem__"):
        raise InputError(f"analyze_many expects several images, a list or a generator; got {kind}.")


def _detach(image: ImageSource, options: AnalysisOptions) -> ImageSource | MienError:
    """Return something that another thread can read whatever the caller does to the original."""
    if isinstance(image, np.ndarray):
        return image.copy()
    return image if isinstance(image, str | bytes | PathLike) else _read(image, options)


def _read(image: ImageSource | MienError, options: AnalysisOptions) -> np.ndarray | MienError:
    if isinstance(image, MienError):
        return image
    try:
        return read_image(image, max_pixels=options.max_pixels, color=options.color)
    except MienError as error:
        return without_frames(error)


def without_frames(error: MienError) -> MienError:
    """Return an error without its traceback and context, whose frames would keep the image in memory."""
    error.__context__ = None
    return error.with_traceback(None)
