"""Images as a video: a folder, numbered files, a single image or an animated one, read as images always are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mien.errors import ImageReadError, VideoReadError
from mien.imaging import IMAGE_SUFFIXES, read_image, resize
from mien.video.io.sources import DecodedFrame, VideoInfo

DEFAULT_FPS = 25.0

Shown: TypeAlias = "tuple[float, float, Callable[[], np.ndarray]]"
"""An image's start and end in seconds, and how to read it."""

_NUMBER = re.compile(r"%(0\d+)?d")


def image_frames(source: str | Path, *, fps: float | None, most_side: int | None) -> ImageFrames | None:
    """The frames of a folder of images, of a pattern like `frames/%04d.png`, of an image; None for all else.

    Raises:
        VideoReadError: when there is no image, or none that can be read.
    """
    path, step_s = Path(source), 1 / (fps or DEFAULT_FPS)
    if path.is_dir():
        paths = sorted((p for p in path.iterdir() if _is_image(p)), key=_natural_key)
        problem = f"{path} is a folder without images: give a video, or a folder of frames."
    elif _NUMBER.search(path.name) and not path.exists() and "://" not in str(source):
        paths, problem = _numbered(path), f"{path}: there is no image of this pattern."
    elif path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFrames(str(source), lambda: _animation(path, step_s), count=None, most_side=most_side)
    else:
        return None
    if not paths:
        raise VideoReadError(problem)
    return ImageFrames(str(source), lambda: _files(paths, step_s), count=len(paths), most_side=most_side)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts frame9 before frame10."""
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(0, int(digits), digits) if digits else (1, 0, text) for digits, text in parts]


def _numbered(pattern: Path) -> list[Path]:
    """The files of a pattern in the order of their numbers, which may have gaps."""
    before, width, after = _NUMBER.split(pattern.name, maxsplit=1)
    digits = r"(\d{%d,})" % int(width or 1)  # noqa: UP031 - braces of the expression
    name = re.compile(re.escape(before) + digits + re.escape(after))
    folder = pattern.parent
    found = (
        [(int(m[1]), p) for p in folder.iterdir() if (m := name.fullmatch(p.name))] if folder.is_dir() else []
    )
    return [path for _, path in sorted(found)]


def _files(paths: list[Path], step_s: float) -> Iterator[Shown]:
    for place, path in enumerate(paths):
        yield place * step_s, (place + 1) * step_s, lambda path=path: read_image(path)


def _animation(path: Path, step_s: float) -> Iterator[Shown]:
    """The frames of an animated GIF, WebP, PNG or AVIF as long as each is shown; one of any other image."""
    from PIL import Image

    try:
        image: Any = Image.open(path)
    except Exception:  # read_image words what is wrong
        yield 0.0, step_s, lambda: read_image(path)
        return
    with image:
        if image.format not in ("AVIF", "GIF", "PNG", "WEBP") or not getattr(image, "is_animated", False):
            yield 0.0, step_s, lambda: read_image(path)
            return
        yield from _animated(image, step_s)


def _animated(image: Any, step_s: float) -> Iterator[Shown]:
    place, start_s = 0, 0.0
    while True:
        try:
            image.seek(place)
            image.load()
        except EOFError:
            return
        except Exception as error:  # Pillow's decoders raise many kinds on broken files
            problem = ImageReadError(str(error))
            yield start_s, start_s + step_s, lambda problem=problem: _fail(problem)
            return
        frame = image.copy()
        end_s = start_s + (image.info.get("duration", 0) / 1000 or step_s)
        yield start_s, end_s, lambda frame=frame: read_image(frame)
        place, start_s = place + 1, end_s


def _fail(error: ImageReadError) -> np.ndarray:
    raise error


class ImageFrames:
    """Images one after the other. Each is fitted into the size of the first, with black beside it if need be."""

    is_truncated = False

    def __init__(
        self, name: str, shown: Callable[[], Iterator[Shown]], *, count: int | None, most_side: int | None
    ) -> None:
        self._shown, self._most_side, self._size_hw = shown, most_side, None
        problem = f"{name} has no images."
        for start_s, end_s, read in shown():
            try:
                size_hw = read().shape[:2]
            except ImageReadError as error:
                problem = str(error)
                continue
            fps = 1 / (end_s - start_s)
            self.info = VideoInfo(
                source=name,
                size_hw=size_hw,
                fps=fps,
                duration_s=count / fps if count else None,
                frames=count,
                has_audio=False,
                is_live=False,
            )
            break
        else:
            raise VideoReadError(problem)
        self._size_hw = self._shrunk(size_hw)
        self.skip_to(-1, 0.0)

    def close(self) -> None:
        """Nothing is held open but the animation that is being read."""
        self._left: Iterator[tuple[int, Shown]] = iter(())

    def __next__(self) -> DecodedFrame:
        for index, (start_s, _, read) in self._left:
            if index <= self._after:
                continue
            try:
                return DecodedFrame(index, start_s, self._fitted(read()))
            except ImageReadError:
                self.broken += 1
        raise StopIteration

    def skip_to(self, index: int, timestamp_s: float) -> None:
        """Continue after the image of this number."""
        self.broken, self._after = 0, index
        self._left = enumerate(self._shown())

    def images_at(self, moments_s: Iterable[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        """What is shown at each moment, in time order; None beyond the end and for an image that is broken."""
        left = self._shown()
        current = next(left, None)
        for moment_s in sorted(moments_s):
            while current and current[1] <= moment_s + 1e-9:
                current = next(left, None)
            yield moment_s, self._read(current[2]) if current and moment_s >= 0 else None

    def _read(self, read: Callable[[], np.ndarray]) -> np.ndarray | None:
        try:
            return self._fitted(read())
        except ImageReadError:
            return None

    def _shrunk(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        shrink = min(1.0, self._most_side / max(size_hw)) if self._most_side else 1.0
        return max(1, round(size_hw[0] * shrink)), max(1, round(size_hw[1] * shrink))

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        height, width = self._size_hw or image.shape[:2]
        if image.shape[:2] == (height, width):
            return image
        scale = min(height / image.shape[0], width / image.shape[1])
        inner_hw = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
        top, left = (height - inner_hw[0]) // 2, (width - inner_hw[1]) // 2
        fitted = np.zeros((height, width, 3), dtype=np.uint8)
        fitted[top : top + inner_hw[0], left : left + inner_hw[1]] = resize(image, inner_hw)
        return fitted
