"""Read access to the files of a folder or a zip archive, and CSV rows with line numbers."""

from __future__ import annotations

import csv
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

import numpy as np

from mien.addresses import path_problem
from mien.errors import AnnotationError, DatasetError, LayoutError, reason


class ImageStore(Protocol):
    """Source of the images of an index. Thread-safe, and safe to pickle and to fork."""

    def has(self, name: str) -> bool:
        """Return whether an image of this name exists."""
        ...

    def read(self, name: str) -> bytes | np.ndarray:
        """Return an image as encoded bytes or as (H, W, 3) uint8 RGB. Raises KeyError if it does not exist."""
        ...


class FolderFiles:
    """Files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the sorted names of all files except hidden ones and those in `__MACOSX`.

        Links are followed, except those that lead back to a folder above them.

        Raises:
            DatasetError: a folder cannot be searched.
        """
        names: list[str] = []
        try:
            for folder, folders, files in os.walk(self.path, followlinks=True, onerror=_fail):
                folders[:] = [name for name in folders if not _is_loop(folder, name)]
                prefix = Path(folder).relative_to(self.path).as_posix()
                names += [file if prefix == "." else f"{prefix}/{file}" for file in files]
        except OSError as error:
            raise DatasetError(f"{error.filename}: cannot be searched: {reason(error)}.") from error
        return sorted(filter(_is_visible, names))

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        try:
            return (self.path / name).is_file()
        except OSError:  # a name that the file system does not allow
            return False

    def read(self, name: str) -> bytes:
        """Return the bytes of a file. Raises KeyError if it does not exist."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(name) from None
        except OSError as error:
            raise DatasetError(f"{self.path / name}: cannot be read: {reason(error)}.") from error

    def open(self, name: str) -> BinaryIO:
        """Open a file. Raises DatasetError if it cannot be read."""
        try:
            return (self.path / name).open("rb")
        except OSError as error:
            raise DatasetError(f"{self.path / name}: cannot be read: {reason(error)}.") from error

    def subfolder(self, folder: str) -> FolderFiles:
        """Return the files below a folder, under names relative to it."""
        return FolderFiles(self.path / folder)


class ZipFiles:
    """Files of a zip archive, read without unpacking it.

    Each process opens its own handle and guards it with a lock: a forked worker that shared the handle of its parent
    would move the read position of the parent.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path = path
        self.prefix = prefix
        self._opened: tuple[int, threading.Lock, zipfile.ZipFile, dict[str, zipfile.ZipInfo]] | None = None

    def __reduce__(self) -> tuple[type[ZipFiles], tuple[Path, str]]:
        return ZipFiles, (self.path, self.prefix)

    def _open(self) -> tuple[threading.Lock, zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        """Return the lock, the archive, and the entries of its files by normalized name."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            try:
                archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise DatasetError(f"{self.path}: cannot be opened as a zip archive: {reason(error)}.") from error
            try:
                entries = _list_entries(archive, self.path)
            except DatasetError:
                archive.close()
                raise
            opened = self._opened = (os.getpid(), threading.Lock(), archive, entries)
        return opened[1:]

    def names(self) -> list[str]:
        """Return the sorted names of all files except hidden ones and those in `__MACOSX`."""
        _, _, entries = self._open()
        names = (name.removeprefix(self.prefix) for name in entries if name.startswith(self.prefix))
        return sorted(filter(_is_visible, names))

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        _, _, entries = self._open()
        return self.prefix + name in entries

    def read(self, name: str) -> bytes:
        """Return the bytes of a file. Raises KeyError if it does not exist."""
        lock, archive, entries = self._open()
        entry = entries.get(self.prefix + name)
        if entry is None:
            raise KeyError(name)
        try:
            with lock:
                return archive.read(entry)
        except Exception as error:  # zipfile raises many types: broken data, encryption, unknown compression
            raise DatasetError(f"{self.path}: {self.prefix}{name} cannot be unpacked: {reason(error)}.") from error

    def subfolder(self, folder: str) -> ZipFiles:
        """Return the files below a folder, under names relative to it."""
        files = ZipFiles(self.path, f"{self.prefix}{folder}/")
        files._opened = self._opened
        return files


def _list_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    r"""Return the entries of the files of an archive by their names, without `.` parts and with `/` in place of `\`.

    Raises:
        DatasetError: a name occurs twice, and it is unclear which of the files is meant.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.replace("\\", "/")
        if name.endswith("/"):
            continue
        name = "/".join(part for part in name.split("/") if part not in ("", "."))
        if name in entries and _is_visible(name):
            raise DatasetError(f"{path}: the file {name} occurs twice in the archive; create the archive again.")
        entries[name] = entry
    return entries


Files = FolderFiles | ZipFiles
"""Files of a folder or a zip archive, under names separated by "/"."""


def _fail(error: OSError) -> NoReturn:
    raise error


def _is_loop(parent: str, name: str) -> bool:
    """Return whether a folder is a link to one that contains it."""
    path = Path(parent, name)
    return path.is_symlink() and Path(os.path.realpath(parent)).is_relative_to(os.path.realpath(path))


def _is_visible(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def dataset_path(path: str | Path) -> Path:
    """Return the path of a data set.

    Raises:
        DatasetError: the text is empty or an address, or the path cannot be accessed.
    """
    try:
        is_present = bool(str(path).strip()) and Path(path).exists()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {reason(error)}.") from error
    if not is_present and (problem := path_problem(path)):
        raise DatasetError(problem)
    return Path(path)


def open_files(path: str | Path) -> Files:
    """Open a folder or a zip archive.

    Raises:
        LayoutError: the path is neither.
        DatasetError: the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return FolderFiles(path)
    if path.is_file():
        with FolderFiles(path.parent).open(path.name) as file:
            is_zip = zipfile.is_zipfile(file)
        if is_zip:
            return ZipFiles(path)
    problem = "this file is neither" if path.exists() else "the path does not exist"
    raise LayoutError(path, f"a folder or a .zip file; {problem}")


def read_labels(files: Files, name: str, file: Path) -> bytes:
    """Return the content of a listed label file.

    Args:
        files: folder or zip archive that contains it.
        name: its name in `files`.
        file: its path, for messages.

    Raises:
        DatasetError: it cannot be read, for example because it is a broken link.
    """
    try:
        return files.read(name)
    except KeyError:
        raise DatasetError(f"{file}: no such file; is it a broken link?") from None


def read_csv_rows(
    data: bytes, file: str | Path, delimiter: str = ",", *, errors: str = "strict"
) -> Iterator[tuple[int, list[str]]]:
    """Yield the non-empty rows of a UTF-8 CSV file, each with the number of its first line.

    Args:
        data: content of the file.
        file: path of the file, for messages.
        delimiter: character between two cells.
        errors: handling of bytes that are not UTF-8, as in `bytes.decode`.

    Raises:
        AnnotationError: the file is not UTF-8 or not CSV.
    """
    try:
        text = data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AnnotationError(file, line, "is not UTF-8 text; save the file as UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise AnnotationError(file, line, f"is not CSV: {reason(error)}.") from None
