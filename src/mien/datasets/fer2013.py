"""FER2013 adapter: the CSV file of Kaggle with 48 x 48 gray pixels as text and one class per row.

Source:
    Goodfellow et al.: Challenges in Representation Learning (ICONIP 2013). FER+ relabels the same faces.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mien.datasets.files import Files, FolderFiles, dataset_path, open_files
from mien.datasets.index import Index, Sample
from mien.emotions import BASIC_EXPRESSIONS
from mien.errors import AnnotationError, LayoutError

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""Classes 0..6 of Kaggle's file."""

USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
"""Split of each value in the column `Usage`."""

FILE = "fer2013.csv"
LICENSE = "faces gathered from the web for the FER2013 challenge, for research"
LAYOUT = f"{FILE} (emotion,pixels,Usage), or a folder or zip archive that contains it"
_HEADER = ["emotion", "pixels", "usage"]
_SIDE = 48


class PixelRow(NamedTuple):
    """Line number of a row in `fer2013.csv`, offset of its first byte, and its cells except the pixels."""

    line: int
    offset: int
    emotion: str
    usage: str


class PixelTable:
    """Images of `fer2013.csv`, stored as text and read one row at a time.

    A file in a zip archive allows no random access, so each process unpacks it into memory once (300 MB).

    Args:
        files: folder or zip archive that contains the file.
        name: name of the file in `files`.
        path: path of the file, for messages.
        rows: line number and offset of the first byte of each image, by image id.
    """

    def __init__(self, files: Files, name: str, path: Path, rows: dict[str, tuple[int, int]]) -> None:
        self.files = files
        self.name = name
        self.path = path
        self.rows = rows
        self._text: bytes | None = None

    def __reduce__(self) -> tuple[type[PixelTable], tuple[Files, str, Path, dict[str, tuple[int, int]]]]:
        return PixelTable, (self.files, self.name, self.path, self.rows)

    def has(self, name: str) -> bool:
        """Return whether an image of this name exists."""
        return name in self.rows

    def read(self, name: str) -> np.ndarray:
        """Return the (48, 48, 3) uint8 RGB pixels of an image. Raises KeyError if it does not exist."""
        line, offset = self.rows[name]
        cells = self._line(offset).replace(b'"', b"").split(b",")
        try:
            values = np.array([int(value) for value in cells[1].split()])
            gray = values.reshape(_SIDE, _SIDE)
        except (ValueError, IndexError):
            gray = np.full((1, 1), -1)
        if gray.min() < 0 or gray.max() > 255:
            raise AnnotationError(self.path, line, f"the pixels are not {_SIDE**2} values 0..255.")
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)

    def _line(self, offset: int) -> bytes:
        if isinstance(self.files, FolderFiles):
            with self.files.open(self.name) as file:
                file.seek(offset)
                return file.readline()
        if self._text is None:
            self._text = self.files.read(self.name)
        end = self._text.find(b"\n", offset)
        return self._text[offset : None if end < 0 else end]


def read_fer2013(path: str | Path) -> Index:
    """Read `fer2013.csv` of Kaggle with its seven classes; Training, PublicTest and PrivateTest are the splits.

    The id of an image is its Usage and its row in the file, counted from 0: `Training/00077`.

    Args:
        path: the file, or a folder or zip archive that contains it at any depth.

    Raises:
        LayoutError: the file does not exist or has no rows.
        AnnotationError: a row is malformed. Pixels are validated when an image is read.
    """
    path = dataset_path(path)
    is_table = path.is_file() and path.suffix.lower() == ".csv"
    files: Files = FolderFiles(path.parent) if is_table else open_files(path)
    name = path.name if is_table else _find_file(path, files)
    file = path if is_table else path / name
    rows = scan_pixel_table(files, name, file)
    if not rows:
        raise LayoutError(file, f"{LAYOUT}; the file has no rows")
    samples = tuple(_sample(row, number, file) for number, row in enumerate(rows))
    positions = {sample.id: (row.line, row.offset) for sample, row in zip(samples, rows, strict=True)}
    return Index(
        name="fer2013",
        root=path,
        labels=BASIC_EXPRESSIONS,
        samples=samples,
        license=LICENSE,
        title="FER2013 (Goodfellow et al. 2013)",
        is_cropped=True,
        source=PixelTable(files, name, file, positions),
    )


def scan_pixel_table(files: Files, name: str, path: Path) -> list[PixelRow]:
    """Read all rows of `fer2013.csv` without their pixels.

    Raises:
        AnnotationError: the header is not the expected one.
    """
    rows: list[PixelRow] = []
    offset = 0
    with _open(files, name) as file:
        for line, text in enumerate(file, start=1):
            header = text.removeprefix(codecs.BOM_UTF8).split(b",") if line == 1 else []
            if line == 1 and [_cell(cell).lower() for cell in header] != _HEADER:
                raise AnnotationError(path, 1, "the header is not `emotion,pixels,Usage`.")
            if line > 1 and text.strip():
                emotion = _cell(text.split(b",", 1)[0])
                usage = _cell(text.rsplit(b",", 1)[-1])
                rows.append(PixelRow(line, offset, emotion, usage))
            offset += len(text)
    return rows


def _open(files: Files, name: str) -> BinaryIO:
    """Open a file as a stream, without loading it into memory where it is on disk."""
    return files.open(name) if isinstance(files, FolderFiles) else io.BytesIO(files.read(name))


def _cell(data: bytes) -> str:
    return data[:80].strip().strip(b'"').decode("utf-8", "replace")


def _find_file(path: Path, files: Files) -> str:
    names = [name for name in files.names() if name.split("/")[-1].lower() == FILE]
    if len(names) != 1:
        raise LayoutError(path, f"{LAYOUT}; found {len(names)} files of this name" if names else LAYOUT)
    return names[0]


def _sample(row: PixelRow, number: int, path: Path) -> Sample:
    if row.usage not in USAGES:
        raise AnnotationError(path, row.line, f"Usage is {row.usage!r}, not one of {', '.join(USAGES)}.")
    if row.emotion not in map(str, range(len(CLASSES))):
        raise AnnotationError(path, row.line, f"emotion is {row.emotion!r}, not a number 0..6.")
    sample = Sample(id=f"{row.usage}/{number:05d}", split=USAGES[row.usage], line=row.line)
    return sample.with_label(CLASSES[int(row.emotion)], BASIC_EXPRESSIONS)
