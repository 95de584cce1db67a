"""FER2013 as on Kaggle: one CSV file whose rows are 48 x 48 gray pixels as text, one class each.

Source:
    Goodfellow et al.: Challenges in Representation Learning (ICONIP 2013). FER+ labels the same faces anew.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mien.datasets.index import Files, FolderFiles, Index, Sample, one_hot, open_files
from mien.emotions import BASIC_EXPRESSIONS, FER2013_CLASSES
from mien.errors import AnnotationError, LayoutError

USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
"""What the column `Usage` calls the splits."""

FILE = "fer2013.csv"
LICENSE = "faces gathered from the web for the FER2013 challenge, for research"
LAYOUT = f"{FILE} (emotion,pixels,Usage), or a folder or zip that holds it"
_HEADER = ["emotion", "pixels", "usage"]
_SIDE = 48


class PixelRow(NamedTuple):
    """Where a row of `fer2013.csv` stands, and its short cells as they are written."""

    line: int
    offset: int
    """The line's first byte in the file."""
    emotion: str
    usage: str


class PixelTable:
    """The images of `fer2013.csv`: 48 x 48 gray values as text, read one row at a time.

    A file in a zip cannot be entered in the middle: it is unpacked into memory once in every process (300 MB).

    Args:
        files: the folder or zip that holds the file.
        name: of the file in it.
        path: of the file, for messages.
        rows: image id: its line number, and the line's first byte in the file.
    """

    def __init__(self, files: Files, name: str, path: Path, rows: dict[str, tuple[int, int]]) -> None:
        self.files, self.name, self.path, self.rows = files, name, path, rows
        self._text: bytes | None = None

    def __reduce__(self) -> tuple[type[PixelTable], tuple[Files, str, Path, dict[str, tuple[int, int]]]]:
        return PixelTable, (self.files, self.name, self.path, self.rows)

    def has(self, name: str) -> bool:
        """Whether there is such an image."""
        return name in self.rows

    def read(self, name: str) -> np.ndarray:
        """The (48, 48, 3) uint8 RGB pixels of an image. Raises KeyError when there is none."""
        line, offset = self.rows[name]
        cells = self._line(offset).replace(b'"', b"").split(b",")
        try:
            gray = np.array([int(value) for value in cells[1].split()])
            square = gray.reshape(_SIDE, _SIDE)
        except (ValueError, IndexError):
            square = np.full((1, 1), -1)
        if square.min() < 0 or square.max() > 255:
            raise AnnotationError(self.path, line, f"the pixels are not {_SIDE**2} values 0..255.")
        return np.repeat(square.astype(np.uint8)[:, :, None], 3, axis=2)

    def _line(self, offset: int) -> bytes:
        if isinstance(self.files, FolderFiles):
            with (self.files.path / self.name).open("rb") as file:
                file.seek(offset)
                return file.readline()
        if self._text is None:
            self._text = self.files.read(self.name)
        end = self._text.find(b"\n", offset)
        return self._text[offset : None if end < 0 else end]


def read_fer2013(path: str | Path) -> Index:
    """Read Kaggle's `fer2013.csv`: seven classes; Training, PublicTest and PrivateTest are train, valid and test.

    An image's id is its Usage and its row in the file, counted from 0: `Training/00077`.

    Args:
        path: the file itself, or a folder or zip that holds it, however deep.

    Raises:
        LayoutError: the file is not there, or has no row.
        AnnotationError: a line of it is wrong. Pixels are looked at when an image is read.
    """
    path = Path(path)
    is_table = path.is_file() and path.suffix.lower() == ".csv"
    files: Files = FolderFiles(path.parent) if is_table else open_files(path)
    name = path.name if is_table else _find_file(path, files)
    where = path if is_table else path / name
    rows = scan_pixel_table(files, name, where)
    if not rows:
        raise LayoutError(where, f"{LAYOUT}; it has no row")
    samples = tuple(_sample(row, number, where) for number, row in enumerate(rows))
    places = {sample.id: (row.line, row.offset) for sample, row in zip(samples, rows, strict=True)}
    return Index(
        name="fer2013",
        root=path,
        labels=BASIC_EXPRESSIONS,
        samples=samples,
        license=LICENSE,
        is_cropped=True,
        source=PixelTable(files, name, where, places),
    )


def scan_pixel_table(files: Files, name: str, path: Path) -> list[PixelRow]:
    """Every row of `fer2013.csv`, without its pixels.

    Raises:
        AnnotationError: the header is another.
    """
    found: list[PixelRow] = []
    offset = 0
    with _open(files, name) as file:
        for line, text in enumerate(file, start=1):
            first, last = text.split(b",", 1)[0], text.rsplit(b",", 1)[-1]
            header = text.removeprefix(codecs.BOM_UTF8).split(b",") if line == 1 else []
            if line == 1 and [_cell(cell).lower() for cell in header] != _HEADER:
                raise AnnotationError(path, 1, "the header is not `emotion,pixels,Usage`.")
            if line > 1 and text.strip():
                found.append(PixelRow(line, offset, _cell(first), _cell(last)))
            offset += len(text)
    return found


def _open(files: Files, name: str) -> BinaryIO:
    """The file as a stream: on disk it is never held in memory whole."""
    return (files.path / name).open("rb") if isinstance(files, FolderFiles) else io.BytesIO(files.read(name))


def _cell(data: bytes) -> str:
    return data[:80].strip().strip(b'"').decode("utf-8", "replace")


def _find_file(path: Path, files: Files) -> str:
    found = [name for name in files.names() if name.split("/")[-1].lower() == FILE]
    if len(found) != 1:
        raise LayoutError(path, f"{LAYOUT}; there are {len(found)} of this name" if found else LAYOUT)
    return found[0]


def _sample(row: PixelRow, number: int, path: Path) -> Sample:
    if row.usage not in USAGES:
        raise AnnotationError(path, row.line, f"Usage is {row.usage!r}, not one of {', '.join(USAGES)}.")
    if row.emotion not in map(str, range(len(FER2013_CLASSES))):
        raise AnnotationError(path, row.line, f"emotion is {row.emotion!r}, not a number 0..6.")
    label = BASIC_EXPRESSIONS.index(FER2013_CLASSES[int(row.emotion)])
    return Sample(
        id=f"{row.usage}/{number:05d}",
        split=USAGES[row.usage],
        label=label,
        label_distribution=one_hot(label, len(BASIC_EXPRESSIONS)),
        line=row.line,
    )
