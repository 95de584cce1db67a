"""What a data set is, whichever files it came in: samples with labels, and the bytes of their images.

An adapter (`ferplus.py`, `rafdb.py`, `folder.py` ...) reads label files into an `Index`; images stay encoded.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.emotions import EXPRESSIONS
from mien.errors import AnnotationError, DatasetError, InputError, LayoutError

SPLITS = ("train", "valid", "test")
"""The splits, in the order in which a model meets them."""

SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""What folders and tables may call them, in lower case."""

ANY_SPLIT = "any"
"""The split of samples whose data set names none: they belong to every split asked for."""


class ImageStore(Protocol):
    """Where an index gets its images from. Safe to use from many threads, and to pickle or fork."""

    def has(self, name: str) -> bool:
        """Whether there is such an image."""
        ...

    def read(self, name: str) -> bytes | np.ndarray:
        """The encoded bytes of an image, or (H, W, 3) uint8 RGB. Raises KeyError when there is none."""
        ...


class Files(ImageStore, Protocol):
    """The files of a folder or of a zip, under "/"-separated names."""

    def names(self) -> list[str]:
        """Every file, sorted; hidden files and the `__MACOSX` folder are left out."""
        ...

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises KeyError when there is none."""
        ...

    def below(self, folder: str) -> Files:
        """The same files seen from one folder further down."""
        ...


class FolderFiles:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Every file, sorted; hidden files are left out."""
        found: list[str] = []
        for folder, _, files in os.walk(self.path, followlinks=True):
            prefix = Path(folder).relative_to(self.path).as_posix()
            found += [file if prefix == "." else f"{prefix}/{file}" for file in files]
        return sorted(filter(_is_shown, found))

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            return (self.path / name).is_file()
        except OSError:  # a name that the file system does not allow
            return False

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises KeyError when there is none."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(name) from None
        except OSError as error:
            raise DatasetError(f"{self.path / name}: cannot be read ({error.strerror}).") from error

    def below(self, folder: str) -> FolderFiles:
        """The same files seen from one folder further down."""
        return FolderFiles(self.path / folder)


class ZipFiles:
    """The files of a zip, read without unpacking it.

    One handle a process, under one lock: a forked worker on its parent's handle would move its read position.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix
        self._opened: tuple[int, threading.Lock, zipfile.ZipFile] | None = None

    def __reduce__(self) -> tuple[type[ZipFiles], tuple[Path, str]]:
        return ZipFiles, (self.path, self.prefix)

    def _archive(self) -> tuple[threading.Lock, zipfile.ZipFile]:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            try:
                opened = self._opened = (os.getpid(), threading.Lock(), zipfile.ZipFile(self.path))
            except (zipfile.BadZipFile, OSError) as error:
                raise DatasetError(f"{self.path}: cannot be opened as a zip ({error}).") from error
        return opened[1], opened[2]

    def names(self) -> list[str]:
        """Every file, sorted; hidden files and the `__MACOSX` folder are left out."""
        _, archive = self._archive()
        start = len(self.prefix)
        inside = [
            name[start:] for name in archive.namelist() if name.startswith(self.prefix) and name[-1] != "/"
        ]
        return sorted(filter(_is_shown, inside))

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        _, archive = self._archive()
        try:
            return not archive.getinfo(self.prefix + name).is_dir()
        except KeyError:
            return False

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises KeyError when there is none."""
        lock, archive = self._archive()
        try:
            with lock:
                return archive.read(self.prefix + name)
        except KeyError:
            raise KeyError(name) from None
        except Exception as error:  # broken data, a password, an unknown method: zipfile raises many kinds
            raise DatasetError(f"{self.path}: {self.prefix}{name} cannot be unpacked ({error}).") from error

    def below(self, folder: str) -> ZipFiles:
        """The same files seen from one folder further down."""
        deeper = ZipFiles(self.path, f"{self.prefix}{folder}/")
        deeper._opened = self._opened
        return deeper


def _is_shown(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def open_files(path: str | Path) -> FolderFiles | ZipFiles:
    """The files of a folder or of a zip.

    Raises:
        LayoutError: the path is neither.
    """
    path = Path(path)
    if path.is_dir():
        return FolderFiles(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return ZipFiles(path)
    problem = "this file is neither" if path.exists() else "there is nothing at this path"
    raise LayoutError(path, f"a folder or a .zip file; {problem}")


def csv_rows(data: bytes, file: str | Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a UTF-8 CSV that are not empty, each with the number of its first line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AnnotationError(file, line, "is not UTF-8 text; save the file as UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise AnnotationError(file, line, f"is not CSV ({error}).") from None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labeled image."""

    id: str
    """Unique in its index: the image's path inside the data set, "/"-separated."""
    split: str
    """"train", "valid" or "test"; `ANY_SPLIT` where the data set names none."""
    label: int | None
    """Class id in `Index.labels` (FER+: the official majority label); None: the image does not count."""
    label_distribution: tuple[float, ...] | None
    """(C,) sums to 1: the training target; None: not used for training."""
    votes: tuple[float, ...] | None = None
    """The raw votes, when there are any (FER+: the ten columns)."""
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else is said of the person or the image (gender, age ...): reports are split by it."""
    landmarks_xy: tuple[tuple[float, float], ...] | None = None
    """Five points of the labeled face in pixels of its image, in the order of `mien.faces`; None: to be found."""
    valence_arousal: tuple[float, float] | None = None
    """Perceived pleasure and activation, -1..1 each (AffectNet)."""
    line: int | None = None
    """The line in the label file, for messages."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A data set: its samples, and a way to their images."""

    name: str
    root: Path
    """The folder or zip (for a table: the folder that its paths are relative to)."""
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    license: str
    is_cropped: bool
    """True: each image is one face crop, kept whole when no face is found in it. False: whole photographs."""
    split: str = "all"
    """What the samples are of the data set: the split that was selected, or all; all too where it has no splits."""
    source: ImageStore | None = field(default=None, repr=False, compare=False)
    """Where the images come from; None: the files below `root`, named by the samples' ids."""

    @cached_property
    def images(self) -> ImageStore:
        """The images, under the samples' ids."""
        return self.source if self.source is not None else open_files(self.root)

    def has(self, sample: Sample) -> bool:
        """Whether the sample's image is there (it may still be broken)."""
        return self.images.has(sample.id)

    def read(self, sample: Sample) -> bytes | np.ndarray:
        """The encoded bytes of an image, or (H, W, 3) uint8 RGB where the data set stores pixels as text.

        Safe from many threads, and after pickling or forking to worker processes.

        Raises:
            DatasetError: the image is missing or cannot be got out of the zip.
        """
        try:
            return self.images.read(sample.id)
        except KeyError:
            where = "" if sample.line is None else f" (line {sample.line} of its label file)"
            raise DatasetError(
                f"{self.root}: the image {sample.id}{where} is missing. Put it there, or remove its label."
            ) from None

    @property
    def has_splits(self) -> bool:
        """Whether some of its samples belong to one split alone; otherwise each split is the whole."""
        return any(sample.split != ANY_SPLIT for sample in self.samples)

    def select(self, split: str) -> Index:
        """The samples of one split; those of `ANY_SPLIT` belong to each.

        Raises:
            InputError: no such split name.
            DatasetError: the data set has no sample in this split.
        """
        if split not in SPLITS:
            raise InputError(f"no split {split!r}. Give one of: {', '.join(SPLITS)}.")
        chosen = tuple(sample for sample in self.samples if sample.split in (split, ANY_SPLIT))
        if not chosen:
            present = sorted({sample.split for sample in self.samples})
            raise DatasetError(
                f"{self.root}: no sample in the split {split!r}. It has: {', '.join(present) or 'none'}."
            )
        return replace(self, samples=chosen, split=split if self.has_splits else self.split)


def hold_out_validation(samples: Iterable[Sample], share: float) -> tuple[Sample, ...]:
    """The samples, a share of every class's training samples moved to the split "valid".

    For data sets without a validation split: to choose on the test split is to cheat. Which samples move is decided
    by a hash of their file names, so it does not depend on the order of the files, nor on where they were unpacked; a
    class with two samples or more gives at least one.

    Args:
        samples: in any order; that order is kept.
        share: of every class, 0..1.
    """
    samples = tuple(samples)
    classes: dict[int | None, list[Sample]] = {}
    for sample in samples:
        if sample.split == "train":
            classes.setdefault(sample.label, []).append(sample)
    held: set[str] = set()
    for members in classes.values():
        count = max(round(share * len(members)), int(len(members) > 1))
        held.update(sample.id for sample in sorted(members, key=_draw)[:count])
    return tuple(replace(sample, split="valid") if sample.id in held else sample for sample in samples)


def _draw(sample: Sample) -> tuple[bytes, str]:
    """A number that belongs to a file name without its ending: RAF-DB's aligned images draw as its originals."""
    name = sample.id.rsplit("/", 1)[-1].rsplit(".", 1)[0].removesuffix("_aligned")
    return hashlib.blake2b(name.encode(), digest_size=8).digest(), sample.id


def one_hot(label: int, count: int) -> tuple[float, ...]:
    """The label distribution of a single certain label."""
    return tuple(float(position == label) for position in range(count))


def unique_labels(expressions: Iterable[str]) -> tuple[str, ...]:
    """Those of the eight expressions that occur, in mien's order.

    Example:
        >>> unique_labels(["sadness", "happiness", "sadness"])
        ('happiness', 'sadness')
    """
    present = set(expressions)
    return tuple(expression for expression in EXPRESSIONS if expression in present)
