"""Decoding of images in background threads, ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from os import PathLike, fsdecode

import numpy as np

from mien.errors import MienError
from mien.imaging import ImageSource, is_pillow, read_image
from mien.runtime import usable_cores


def decode_ahead(
    images: Iterable[ImageSource], count: int, max_pixels: int
) -> Generator[tuple[str, ImageSource | None, np.ndarray | MienError]]:
    """Yield the name, path and pixels of each image in order, decoding the next ones in the background.

    Mutable inputs (arrays, open files, Pillow images) are copied before the next item is requested. An exception of
    the iterable is raised after everything that preceded it was yielded.

    Args:
        images: read lazily.
        count: number of images decoded before they are requested; 0 decodes each when it is requested, in this thread.
        max_pixels: see `read_image`.

    Yields:
        Name, path or None, and (H, W, 3) uint8 RGB pixels or the reason why there are none.
    """
    if count == 0:
        for index, image in enumerate(images):
            yield *_identify(index, image), _read(image, max_pixels)
        return
    numbered, failure = iter(enumerate(images)), None
    queue: deque[tuple[str, ImageSource | None, Future[np.ndarray | MienError]]] = deque()
    pool = ThreadPoolExecutor(min(count, usable_cores()), thread_name_prefix="mien-decode")
    try:
        while True:
            try:
                for index, image in islice(numbered, count + 1 - len(queue)):
                    future = pool.submit(_read, _detach(image, max_pixels), max_pixels)
                    queue.append((*_identify(index, image), future))
                    del future
                    del image
            except Exception as error:
                numbered, failure = iter(()), error
            if not queue:
                if failure is not None:
                    raise failure
                return
            name, path, future = queue.popleft()
            pixels = future.result()
            del future  # it holds the pixels
            yield name, path, pixels
            del pixels
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _identify(index: int, image: ImageSource) -> tuple[str, ImageSource | None]:
    """Return the name of an image, and its path if it has one."""
    if isinstance(image, str | PathLike):
        return fsdecode(image), image
    return f"image {index}", None


def is_single_image(images: object) -> bool:
    """Return whether the argument is one image; strings, bytes, pixels and files are iterable too."""
    single = isinstance(images, str | bytes | bytearray | memoryview | PathLike) or hasattr(images, "read")
    return single or is_pillow(images) or (isinstance(images, np.ndarray) and images.ndim == 3)


def _detach(image: ImageSource, max_pixels: int) -> ImageSource | MienError:
    """Return something that another thread can read whatever the caller does to the original."""
    if isinstance(image, np.ndarray):
        return image.copy()
    return image if isinstance(image, str | bytes | PathLike) else _read(image, max_pixels)


def _read(image: ImageSource | MienError, max_pixels: int) -> np.ndarray | MienError:
    if isinstance(image, MienError):
        return image
    try:
        return read_image(image, max_pixels=max_pixels)
    except MienError as error:
        return without_frames(error)


def without_frames(error: MienError) -> MienError:
    """Return an error without its traceback and context, whose frames would keep the image in memory."""
    error.__context__ = None
    return error.with_traceback(None)
