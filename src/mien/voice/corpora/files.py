"""The files of a corpus: names in a folder or a .zip file, and rows of its tables."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from mien.errors import AnnotationError, DatasetError, LayoutError, reason
from mien.voice.corpora.utterance import read_file


class CorpusFiles:
    """Files of a folder or a .zip file, without those of macOS.

    Args:
        path: the folder or .zip file.

    Attributes:
        archive: the .zip file, or None.
        paths: relative paths, sorted by file name.

    Raises:
        DatasetError: when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.archive = None if path.is_dir() else path
            if self.archive is None:
                paths = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
            else:
                with zipfile.ZipFile(path) as archive:
                    paths = archive.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{path}: cannot be read: {reason(error)}.") from None
        names = [PurePosixPath(item) for item in paths]
        entries = [item for item in names if not item.name.startswith("._") and "__MACOSX" not in item.parts]
        self.paths = sorted(entries, key=lambda item: (item.name, item))

    def locate(self, path: PurePosixPath | None) -> str:
        """Return the path of a file as `Utterance` has it; empty for None."""
        if path is None:
            return ""
        return path.as_posix() if self.archive else (self._path / path).as_posix()

    def read(self, path: PurePosixPath) -> bytes:
        """Return the content of a file.

        Raises:
            DatasetError: when it cannot be read.
        """
        return read_file(self.locate(path), self.archive)

    def named(self, pattern: re.Pattern[str], suffixes: Collection[str], example: str) -> dict[str, PurePosixPath]:
        """Return the files with one of the suffixes by name, with the suffix in lower case.

        Of several files with one name, as in copies of a corpus that contain it twice, the last is returned.

        Args:
            pattern: of names without suffix.
            suffixes: in lower case, with dot.
            example: path in the published layout.

        Raises:
            DatasetError: when a name is not of the pattern.
            LayoutError: when there is no file.
        """
        files: dict[str, PurePosixPath] = {}
        for path in self.paths:
            if path.suffix.lower() not in suffixes:
                continue
            if pattern.fullmatch(path.stem) is None:
                expected = PurePosixPath(example).name
                raise DatasetError(f"{self._path}: {path.name} is not a name such as {expected}.")
            files[path.stem + path.suffix.lower()] = path
        if not files:
            raise LayoutError(self._path, f"a folder or .zip file with {example}")
        return files

    def table(self, path: PurePosixPath, columns: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield line number and values of the rows of a CSV file.

        Raises:
            AnnotationError: when one of the columns is missing.
        """
        # MELD's tables contain characters of Windows-1252 that were taken for UTF-8
        text = self.read(path).decode("utf-8-sig", errors="replace")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise AnnotationError(self.locate(path), 1, f"no column {missing[0]!r}.")
        for row in reader:
            if None in row.values():
                raise AnnotationError(self.locate(path), reader.line_num, "too few values.")
            yield reader.line_num, row
