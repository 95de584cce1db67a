"""Image sequences as video: a folder, numbered files, a still image or an animated one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mien.addresses import path_problem
from mien.errors import ImageReadError, VideoReadError
from mien.image_formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mien.imaging import read_image
from mien.video.io.fitting import fit_image, limit_side
from mien.video.io.sampling import FrameSampler, sampled_info
from mien.video.io.sources import DecodedFrame, VideoInfo

DEFAULT_FPS = 25.0
"""Frame rate of an image sequence by default."""

TimedImage: TypeAlias = "tuple[float, float, Callable[[], np.ndarray]]"
"""Start and end of an image in seconds, and a function that reads it."""

_NUMBER = re.compile(r"%(0\d+)?d")
_ANIMATED_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")


def open_images(source: str | Path, *, fps: float | None, max_side: int | None) -> ImageFrames | None:
    """Open a folder of images, a pattern like `frames/%04d.png` or an image; return None for any other source.

    Raises:
        VideoReadError: when no image exists, or none is readable.
    """
    if not str(source).strip():
        raise VideoReadError(str(path_problem(source)))
    path = Path(source)
    step_s = 1 / (fps or DEFAULT_FPS)
    if path.is_dir():
        paths = sorted((item for item in path.iterdir() if _is_image(item)), key=_natural_key)
        videos = sorted(item.name for item in path.iterdir() if item.suffix.lower() in VIDEO_SUFFIXES)
        hint = f"{path} holds videos; give them by name: {', '.join(videos[:3])}{', ...' * (len(videos) > 3)}"
        problem = hint if videos else f"no images found in {path}; expected a video, or a folder of frames."
    elif _NUMBER.search(path.name) and not path.exists() and "://" not in str(source):
        paths = _numbered_files(path)
        problem = f"no image matches {path}."
    elif path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        frames = lambda: _animation_frames(path, step_s)  # noqa: E731
        return ImageFrames(str(source), frames, count=None, max_side=max_side, fps=fps)
    else:
        return None
    if not paths:
        raise VideoReadError(problem)
    return ImageFrames(str(source), lambda: _file_frames(paths, step_s), count=len(paths), max_side=max_side)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts frame9 before frame10."""
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(0, int(digits), digits) if digits else (1, 0, text) for digits, text in parts]


def _numbered_files(pattern: Path) -> list[Path]:
    """Return the files of a pattern in the order of their numbers, which may have gaps."""
    before, width, after = _NUMBER.split(pattern.name, maxsplit=1)
    digits = r"(\d{%d,})" % int(width or 1)  # noqa: UP031 - braces of the expression
    name = re.compile(re.escape(before) + digits + re.escape(after))
    if not pattern.parent.is_dir():
        return []
    matches = ((name.fullmatch(path.name), path) for path in pattern.parent.iterdir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in matches if match)]


def _file_frames(paths: list[Path], step_s: float) -> Iterator[TimedImage]:
    for index, path in enumerate(paths):
        yield index * step_s, (index + 1) * step_s, lambda path=path: read_image(path)


def _animation_frames(path: Path, step_s: float) -> Iterator[TimedImage]:
    """Yield the frames of an animated GIF, WebP, PNG or AVIF with their durations, or any other image once."""
    from PIL import Image

    try:
        image: Any = Image.open(path)
    except Exception:  # read_image raises with a clear message
        yield 0.0, step_s, lambda: read_image(path)
        return
    with image:
        if image.format not in _ANIMATED_FORMATS or not getattr(image, "is_animated", False):
            yield 0.0, step_s, lambda: read_image(path)
            return
        yield from _decode_animation(image, step_s)


def _decode_animation(image: Any, step_s: float) -> Iterator[TimedImage]:
    index = 0
    start_s = 0.0
    while True:
        try:
            image.seek(index)
            image.load()
        except EOFError:
            return
        except Exception as error:  # the decoders of Pillow raise many kinds
            problem = ImageReadError(str(error))
            yield start_s, start_s + step_s, lambda problem=problem: _raise(problem)
            return
        frame = image.copy()
        end_s = start_s + (image.info.get("duration", 0) / 1000 or step_s)
        yield start_s, end_s, lambda frame=frame: read_image(frame)
        index += 1
        start_s = end_s


def _raise(error: ImageReadError) -> np.ndarray:
    raise error


class ImageFrames:
    """The frames of an image sequence, fitted into the size of the first one with black borders where they differ.

    Args:
        name: of the source, for messages.
        open_frames: starts an iteration over the images.
        count: number of images, or None.
        max_side: maximum length of the longer side in pixels.
        fps: see `FrameSampler`.

    Attributes:
        info: properties of the sequence.
        broken: number of unreadable images so far.

    Raises:
        VideoReadError: when no image can be read.
    """

    is_truncated = False

    def __init__(
        self,
        name: str,
        open_frames: Callable[[], Iterator[TimedImage]],
        *,
        count: int | None,
        max_side: int | None,
        fps: float | None = None,
    ) -> None:
        self._open_frames = open_frames
        self._fps = fps
        problem = f"{name} has no images."
        for start_s, end_s, read in open_frames():
            try:
                height, width = read().shape[:2]
            except ImageReadError as error:
                problem = str(error)
                continue
            fps = 1 / (end_s - start_s)
            info = VideoInfo(
                source=name,
                size_hw=(height, width),
                fps=fps,
                duration_s=count / fps if count else None,
                frames=count,
                has_audio=False,
                is_live=False,
            )
            self.info = sampled_info(info, self._fps)
            break
        else:
            raise VideoReadError(problem)
        self._size_hw = limit_side((height, width), max_side)
        self.skip_to(-1, 0.0)

    def close(self) -> None:
        """Stop the iteration, which closes an open animation."""
        self._frames: Iterator[tuple[int, TimedImage]] = iter(())

    def __next__(self) -> DecodedFrame:
        for index, (start_s, _, read) in self._frames:
            if not self._sampler.is_due(start_s) or index <= self._last_skipped:
                continue
            try:
                return DecodedFrame(index, start_s, fit_image(read(), self._size_hw))
            except ImageReadError:
                self.broken += 1
        raise StopIteration

    def skip_to(self, index: int, timestamp_s: float) -> None:
        """Continue after the image of this index."""
        self.broken = 0
        self._last_skipped = index
        self._sampler = FrameSampler(self._fps)
        self._frames = enumerate(self._open_frames())

    def images_at(self, timestamps_s: Iterable[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        """Yield the image at each time, in time order; see `frames_at`."""
        frames = self._open_frames()
        current = next(frames, None)
        for timestamp_s in sorted(timestamps_s):
            while current and current[1] <= timestamp_s + 1e-9:
                current = next(frames, None)
            try:
                image = fit_image(current[2](), self._size_hw) if current and timestamp_s >= 0 else None
            except ImageReadError:
                image = None
            yield timestamp_s, image
