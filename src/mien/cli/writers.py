"""Results for programs and folders: JSON lines, tables, annotated copies."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol

from mien.errors import ImageReadError, InputError, MissingExtraError
from mien.files import written_whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow.parquet

    from mien.cli.pictures import Picture
    from mien.inference.analyzer import Analysis
    from mien.results import Face

ROWS = 4096
"""Rows of a Parquet file that are written at once."""
_KEPT_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_MOST_PIXELS = {"JPEG": 65_500, "WEBP": 16_383}  # of a side; what is larger becomes a PNG


class Report(Protocol):
    """Something that wants to hear of every picture, in order."""

    def add(self, picture: Picture | None, analysis: Analysis) -> None:
        """Take one picture's analysis; no `picture` when a word of the command line meant none.

        Raises:
            ImageReadError: this picture failed; others may follow.
        """
        ...


class JsonLines:
    """Prints one JSON object a picture to standard output, as soon as it is known."""

    def add(self, picture: Picture | None, analysis: Analysis) -> None:
        """Print one line."""
        sys.stdout.write(json.dumps(analysis.to_dict()) + "\n")
        sys.stdout.flush()


class TableWriter:
    """One row a face in a CSV or Parquet file; a picture without faces has one row too, its face empty.

    Rows are written as they come, under a temporary name that becomes the file's own when the block ends well;
    otherwise an older file stays as it was.

    Raises:
        InputError: when the file's name ends otherwise, or it cannot be written.
        MissingExtraError: for Parquet without pyarrow.
    """

    def __init__(self, path: Path, labels: tuple[str, ...]) -> None:
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".parquet"):
            raise InputError(f"{path}: a table's name must end in .csv or .parquet.")
        self._path, self._labels = path, labels
        self._kind = _CsvRows if suffix == ".csv" else _ParquetRows

    def __enter__(self) -> TableWriter:
        try:
            if self._path.is_dir():
                raise InputError(f"{self._path} is a folder.")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                file = stack.enter_context(written_whole(self._path))
                self._rows: _CsvRows | _ParquetRows = self._kind(file, _columns(self._labels))
                stack.callback(self._rows.close)
                self._stack = stack.pop_all()
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        try:
            self._stack.close()
        except OSError as problem:
            raise _unwritable(self._path, problem) from None

    def add(self, picture: Picture | None, analysis: Analysis) -> None:
        """Write the rows of one picture."""
        shared = {"image": _printable(analysis.source), "width": analysis.width, "height": analysis.height}
        if analysis.error is not None:
            shared |= {"error": analysis.error.code, "message": _printable(str(analysis.error))}
        rows = [
            {**shared, "face": number, **_face_row(face)}
            for number, face in enumerate(analysis.faces, start=1)
        ]
        try:
            self._rows.write(rows or [shared])
        except OSError as error:
            raise _unwritable(self._path, error) from None


class _CsvRows:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.DictWriter(self._file, list(columns), restval="")
        self._writer.writeheader()

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        self._file.detach()  # the binary file below stays open: it is not ours


class _ParquetRows:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtraError("writing Parquet", "table") from None
        kinds = {str: pa.string(), int: pa.int32(), float: pa.float64()}
        self._table = pa.Table
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer: pyarrow.parquet.ParquetWriter = pq.ParquetWriter(file, self._schema)
        self._waiting: list[dict[str, Any]] = []

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._waiting += rows
        if len(self._waiting) >= ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._table.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []


def _columns(labels: tuple[str, ...]) -> dict[str, type]:
    """Names and kinds of a table's columns, in order."""
    return {
        "image": str, "width": int, "height": int, "face": int,
        "x1": float, "y1": float, "x2": float, "y2": float, "face_confidence": float,
        "yaw_deg": float, "pitch_deg": float, "roll_deg": float,
        "size_px": float, "sharpness": float, "frontality": float, "visible": float,
        "label": str, "confidence": float,
        **{f"p_{name}": float for name in labels},
        "error": str, "message": str,
    }  # fmt: skip


def _face_row(face: Face) -> dict[str, Any]:
    record = face.to_dict()
    row: dict[str, Any] = dict(zip(("x1", "y1", "x2", "y2"), record["bbox_xyxy"], strict=True))
    row["face_confidence"] = record["confidence"]
    row |= {f"{name}_deg": angle for name, angle in (record["head_pose_deg"] or {}).items()}
    row |= record["quality"] or {}
    if expression := record["expression"]:
        row |= {"label": expression["label"], "confidence": expression["confidence"]}
        row |= {f"p_{name}": value for name, value in expression["probabilities"].items()}
    return row


class CopyWriter:
    """Annotated copies in a folder, laid out as the pictures are; no picture nor other copy is written over.

    Raises:
        InputError: when the folder cannot be made.
    """

    def __init__(self, folder: Path, pictures: list[Picture]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from None
        self._folder = folder
        self._taken = {_key(picture.source) for picture in pictures if isinstance(picture.source, Path)}

    def add(self, picture: Picture | None, analysis: Analysis) -> None:
        """Draw and write one picture; one that could not be read has no copy.

        The picture is read anew, so that the pixels of no other have to wait in memory.

        Raises:
            ImageReadError: when it went away or was changed meanwhile.
            InputError: when the copy cannot be written.
        """
        if picture is None or analysis.error is not None:
            return
        from mien.imaging import read_image
        from mien.inference.annotate import draw_faces

        image = read_image(picture.source)
        if image.shape[:2] != (analysis.height, analysis.width):
            raise ImageReadError(f"{picture.name} was changed while it was being read.")
        drawn = draw_faces(image, analysis.faces)
        save_picture(drawn, self._free_name(picture.relative, max(drawn.shape[:2])))

    def _free_name(self, relative: Path, side: int) -> Path:
        """A path for a copy that is neither a picture's nor another copy's."""
        suffix = relative.suffix.lower()
        kept = suffix in _KEPT_FORMATS and side <= _MOST_PIXELS.get(_KEPT_FORMATS[suffix], side)
        wanted = self._folder / relative if kept else (self._folder / relative).with_suffix(".png")
        target, number = wanted, 1
        while _key(target) in self._taken:
            number += 1
            target = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        self._taken.add(_key(target))
        return target


def check_picture_name(path: Path, *, source: Path) -> None:
    """Refuse a name that `save_picture` could not use, or that is the picture's own.

    Raises:
        InputError: see above.
    """
    if path.suffix.lower() not in _KEPT_FORMATS:
        raise InputError(f"{path}: a picture's name must end in {', '.join(_KEPT_FORMATS)}.")
    if _key(path) == _key(source):
        raise InputError(f"{path} is the picture itself. Give another --output.")


def save_picture(image: np.ndarray, path: Path) -> None:
    """Write pixels (H, W, 3) uint8 RGB whole or not at all, in the format of the name; makes its folder.

    Raises:
        InputError: when it cannot be written.
    """
    from PIL import Image

    format_name = _KEPT_FORMATS[path.suffix.lower()]
    options = {"quality": 92} if format_name in ("JPEG", "WEBP") else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            Image.fromarray(image).save(file, format=format_name, **options)
    except OSError as error:
        raise _unwritable(path, error) from None


def _key(path: Path) -> str:
    """Equal for paths that may be one file, on file systems that ignore case too."""
    return os.path.realpath(path).casefold()


def _printable(text: str) -> str:
    """File names that are not UTF-8, made so."""
    return os.fsencode(text).decode("utf-8", errors="replace")


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}.")
