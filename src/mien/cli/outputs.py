"""Results for programs and folders: JSON lines, tables, annotated copies."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mien.atomic import open_atomic
from mien.errors import ImageReadError, InputError
from mien.table_files import FACE_COLUMNS, TableFile, face_to_row, write_error

if TYPE_CHECKING:
    import numpy as np

    from mien.cli.inputs import ImageInput
    from mien.inference.analyzer import Analysis

_KEPT_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_MAX_PIXELS = {"JPEG": 65_500, "WEBP": 16_383}  # of a side; what is larger becomes a PNG


class Report(Protocol):
    """Something that wants to hear of every image, in order."""

    def add(self, item: ImageInput | None, analysis: Analysis) -> None:
        """Take one image's analysis; no `image` when a word of the command line meant none.

        Raises:
            ImageReadError: this image failed; others may follow.
        """
        ...


class JsonLines:
    """Prints one JSON object an image to standard output, as soon as it is known."""

    def add(self, item: ImageInput | None, analysis: Analysis) -> None:
        """Print one line."""
        sys.stdout.write(json.dumps(analysis.to_dict()) + "\n")
        sys.stdout.flush()


class TableWriter(TableFile):
    """One row a face in a CSV, JSON Lines or Parquet file; an image without faces has one row too, its face empty.

    See `TableFile` for how it is written and what is refused.
    """

    def __init__(self, path: Path, labels: tuple[str, ...]) -> None:
        super().__init__(path, _columns(labels))

    def add(self, item: ImageInput | None, analysis: Analysis) -> None:
        """Write the rows of one image."""
        shared = {"image": _printable(analysis.source), "width": analysis.width, "height": analysis.height}
        if analysis.error is not None:
            shared |= {"error": analysis.error.code, "message": _printable(str(analysis.error))}
        rows = [
            {**shared, "face": number, **face_to_row(face)}
            for number, face in enumerate(analysis.faces, start=1)
        ]
        self.write(rows or [shared])


def _columns(labels: tuple[str, ...]) -> dict[str, type]:
    """Names and kinds of a table's columns, in order."""
    return {
        "image": str, "width": int, "height": int, "face": int,
        **FACE_COLUMNS, "label": str, "confidence": float,
        **{f"p_{name}": float for name in labels},
        "error": str, "message": str,
    }  # fmt: skip


class CopyWriter:
    """Annotated copies in a folder, laid out as the images are; no image nor other copy is written over.

    Raises:
        InputError: when the folder cannot be made.
    """

    def __init__(self, folder: Path, images: list[ImageInput]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from None
        self._folder = folder
        self._taken = {_key(image.source) for image in images if isinstance(image.source, Path)}

    def add(self, item: ImageInput | None, analysis: Analysis) -> None:
        """Draw and write one image; one that could not be read has no copy.

        The image is read anew, so that the pixels of no other have to wait in memory.

        Raises:
            ImageReadError: when it went away or was changed meanwhile.
            InputError: when the copy cannot be written.
        """
        if item is None or analysis.error is not None:
            return
        from mien.drawing.annotate import draw_faces
        from mien.imaging import read_image

        image = read_image(item.source)
        if image.shape[:2] != (analysis.height, analysis.width):
            raise ImageReadError(f"{item.name} was changed while it was being read.")
        drawn = draw_faces(image, analysis.faces)
        save_image(drawn, self._free_name(item.relative, max(drawn.shape[:2])))

    def _free_name(self, relative: Path, side: int) -> Path:
        """A path for a copy that is neither an image's nor another copy's."""
        suffix = relative.suffix.lower()
        kept = suffix in _KEPT_FORMATS and side <= _MAX_PIXELS.get(_KEPT_FORMATS[suffix], side)
        wanted = self._folder / relative if kept else (self._folder / relative).with_suffix(".png")
        target, number = wanted, 1
        while _key(target) in self._taken:
            number += 1
            target = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        self._taken.add(_key(target))
        return target


def check_image_name(path: Path, *, source: Path) -> None:
    """Refuse a name that `save_image` could not use, or that is the image's own.

    Raises:
        InputError: see above.
    """
    if path.suffix.lower() not in _KEPT_FORMATS:
        raise InputError(f"{path}: an image's name must end in {', '.join(_KEPT_FORMATS)}.")
    if _key(path) == _key(source):
        raise InputError(f"{path} is the image itself. Give another --output.")


def save_image(image: np.ndarray, path: Path) -> None:
    """Write pixels (H, W, 3) uint8 RGB whole or not at all, in the format of the name; makes its folder.

    Raises:
        InputError: when it cannot be written.
    """
    from PIL import Image

    format_name = _KEPT_FORMATS[path.suffix.lower()]
    options = {"quality": 92} if format_name in ("JPEG", "WEBP") else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as file:
            Image.fromarray(image).save(file, format=format_name, **options)
    except OSError as error:
        raise write_error(path, error) from None


def _key(path: Path) -> str:
    """Equal for paths that may be one file, on file systems that ignore case too."""
    return os.path.realpath(path).casefold()


def _printable(text: str) -> str:
    """File names that are not UTF-8, made so."""
    return os.fsencode(text).decode("utf-8", errors="replace")
