"""Image sequences as video: a folder, numbered files, a still image or an animated one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mien.addresses import path_problem
from mien.errors import ImageReadError, VideoReadError, reason
from mien.imaging import read_image
from mien.media_formats import IMAGE_SUFFIXES, UNREADABLE_SUFFIXES, VIDEO_SUFFIXES
from mien.number_format import count as count_nouns
from mien.video.io.fitting import fit_image, limit_side
from mien.video.io.sampling import ROUNDING_S, FrameSampler, sampled_info
from mien.video.io.sources import DecodedFrame, VideoInfo, is_address

DEFAULT_FPS = 25.0
"""Frame rate of an image sequence by default."""

TimedImage: TypeAlias = "tuple[float, float, Callable[[], np.ndarray]]"
"""Start and end of an image in seconds, and a function that reads it."""

MAX_NAMED = 3
"""Number of files that a message names; the others are counted."""

_NUMBER = re.compile(r"%(0\d+)?d")
_ANIMATED_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")


def open_images(source: str | Path, *, fps: float | None, max_side: int | None) -> ImageFrames | None:
    """Open a folder of images, a pattern like `frames/%04d.png` or an image; return None for any other source.

    Raises:
        VideoReadError: when no image exists, none is readable, or the folder cannot be read.
    """
    if not str(source).strip():
        raise VideoReadError(str(path_problem(source)))
    if is_address(source):
        return None
    path = Path(source)
    step_s = 1 / (fps or DEFAULT_FPS)
    try:
        sequence = find_images(path)
        if sequence is None and not (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES):
            return None
    except OSError as error:
        problem = f"{path} cannot be read: {reason(error)}."
        raise VideoReadError(path_problem(source) or problem) from None
    if sequence is None:
        frames = lambda: _animation_frames(path, step_s)  # noqa: E731
        return ImageFrames(str(source), frames, count=None, max_side=max_side, fps=fps)
    paths, left_out = sequence
    return ImageFrames(
        str(source), lambda: _file_frames(paths, step_s), count=len(paths), max_side=max_side, left_out=left_out
    )


def find_images(path: Path) -> tuple[list[Path], list[str]] | None:
    """Return the images of a folder or a pattern in order, and the names of those that are not read.

    None for any other path.

    Raises:
        VideoReadError: when there are none.
        OSError: when the folder cannot be read.
    """
    if path.is_dir():
        return _folder_files(path)
    if _NUMBER.search(path.name) and not path.exists():
        return _numbered_files(path), []
    return None


def _folder_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the images of a folder in natural order, and the names of those that are not read.

    Raises:
        VideoReadError: when it has neither.
        OSError: when it cannot be read.
    """
    files = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural_key)
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and _is_entry(path)]
    left_out = [path.name for path in files if path.suffix.lower() in UNREADABLE_SUFFIXES and _is_entry(path)]
    if videos := [path.name for path in files if path.suffix.lower() in VIDEO_SUFFIXES and not images]:
        raise VideoReadError(f"{folder} holds videos; give them by name: {_first_names(videos)}")
    if not images and not left_out:
        raise VideoReadError(f"no images found in {folder}; expected a video, or a folder of frames.")
    return images, left_out


def _is_entry(path: Path) -> bool:
    """Return True for a file or a link; a broken link is a broken frame, and reading it reports the reason."""
    return path.is_symlink() or path.is_file()


def _first_names(names: Sequence[str]) -> str:
    """Return some names as the end of a sentence."""
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else ".")


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key that puts frame9 before frame10."""
    parts = re.findall(r"(\d+)|(\D+)", path.name.casefold())
    return [(0, int(digits), digits) if digits else (1, 0, text) for digits, text in parts]


def _numbered_files(pattern: Path) -> list[Path]:
    """Return the files of a pattern in the order of their numbers, which may have gaps.

    Raises:
        VideoReadError: when there are none.
        OSError: when their folder cannot be read.
    """
    before, width, after = _NUMBER.split(pattern.name, maxsplit=1)
    digits = r"(\d{%d,})" % int(width or 1)  # noqa: UP031 - braces of the expression
    name = re.compile(re.escape(before) + digits + re.escape(after))
    files = pattern.parent.iterdir() if pattern.parent.is_dir() else ()
    matches = ((name.fullmatch(path.name), path) for path in files)
    paths = [path for _, path in sorted((int(match[1]), path) for match, path in matches if match)]
    if not paths:
        raise VideoReadError(f"no image matches {pattern}.")
    return paths


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
            problem = ImageReadError(f"{image.filename}: frame {index} cannot be decoded: {error}.")
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
        left_out: names of images that are not read.

    Attributes:
        info: properties of the sequence.
        broken: number of unreadable images so far.
        errors: messages of the first unreadable images.

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
        left_out: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._open_frames = open_frames
        self._fps = fps
        self._left_out = left_out
        self.skip_to(-1, 0.0)
        for start_s, end_s, read in open_frames():
            try:
                height, width = read().shape[:2]
            except ImageReadError as error:
                self._count_broken(error)
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
            raise VideoReadError(" ".join(self.problems) or f"{name} has no images.")
        self._size_hw = limit_side((height, width), max_side)
        self.skip_to(-1, 0.0)

    @property
    def problems(self) -> list[str]:
        """One line for each reason why images are missing among the frames so far."""
        lines = list(self.errors)
        if self._left_out:
            files = count_nouns(len(self._left_out), "file")
            lines.insert(0, f"left out {files} of {self._name} that cannot be read: {_first_names(self._left_out)}")
        if (more := self._broken_before + self.broken - len(self.errors)) > 0:
            lines.append(f"{count_nouns(more, 'more image')} could not be read.")
        return lines

    def _count_broken(self, error: ImageReadError) -> None:
        # those of an interrupted pass may be ahead of the frame after which it is resumed
        if len(self.errors) < MAX_NAMED and str(error) not in self.errors:
            self.errors.append(str(error))
        self.broken += 1

    def close(self) -> None:
        """Stop the iteration, which closes an open animation."""
        self._frames: Iterator[tuple[int, TimedImage]] = iter(())

    def __next__(self) -> DecodedFrame:
        for index, (start_s, _, read) in self._frames:
            if not self._sampler.is_due(start_s) or index <= self._last_skipped:
                continue
            try:
                return DecodedFrame(index, start_s, fit_image(read(), self._size_hw))
            except ImageReadError as error:
                self._count_broken(error)
        raise StopIteration

    def skip_to(self, index: int, timestamp_s: float) -> None:
        """Continue after the image of this index."""
        self.broken = 0
        self.errors: list[str] = []
        self._broken_before = 0
        self._last_skipped = index
        self._sampler = FrameSampler(self._fps)
        self._frames = enumerate(self._open_frames())

    def restore_errors(self, errors: Sequence[str], broken: int) -> None:
        """Include the unreadable images of an interrupted pass in `problems`; see `VideoReader.restore_errors`."""
        self.errors = list(errors)
        self._broken_before = broken

    def images_at(self, timestamps_s: Iterable[float]) -> Iterator[tuple[float, np.ndarray | None]]:
        """Yield the image at each time, in time order; see `frames_at`."""
        frames = self._open_frames()
        current = next(frames, None)
        for timestamp_s in sorted(timestamps_s):
            while current and current[1] <= timestamp_s + ROUNDING_S:
                current = next(frames, None)
            try:
                image = fit_image(current[2](), self._size_hw) if current and timestamp_s >= 0 else None
            except ImageReadError:
                image = None
            yield timestamp_s, image
