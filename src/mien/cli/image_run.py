"""A run over many images that writes files: what is done is kept in a journal, so that it can be resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import MienError
from mien.inference.run_settings import run_settings
from mien.resume import Journal
from mien.schema import flatten_result, table_columns
from mien.table_files import TableFile, check_table_path

if TYPE_CHECKING:
    from mien.cli.inputs import ImageInput
    from mien.drawing.blur_mode import BlurMode
    from mien.inference.analyzer import Analyzer
    from mien.inference.result import Result

JOURNAL = "run.jsonl"
"""Name of the journal: after the name of the table, or in the folder of the copies. A complete run removes it."""

_END = "\0"
"""Separates a name from the number of its repetition; no file name contains it."""


@dataclass
class Counts:
    """Images that are done, their faces, and the images that failed."""

    images: int = 0
    faces: int = 0
    failures: int = 0

    def add(self, faces: int, *, is_failed: bool) -> None:
        """Count one image."""
        self.images += 1
        self.faces += faces
        self.failures += is_failed


class ImageRun(AbstractContextManager["ImageRun"]):
    """A run with a table or annotated copies; complete at the end, or with what was read before a stop.

    Args:
        images: all images of the run.
        analyzer: its model and options have to be the same when the run is resumed.
        table: file for one row per face, or None.
        output: folder of the annotated copies, or None if there is a table.
        blur: faces to hide in the copies.
        resume: continue an interrupted run.

    Raises:
        InputError: an output cannot be written, or the interrupted run had other options.
        MissingExtraError: for Parquet without pyarrow.
    """

    def __init__(
        self,
        images: Sequence[ImageInput],
        analyzer: Analyzer,
        *,
        table: Path | None,
        output: Path | None,
        blur: BlurMode | None = None,
        resume: bool,
    ) -> None:
        self._images = _with_keys(images)
        self._keys = {id(image): key for key, image in self._images.items()}
        self._table = table
        self._place = table or output
        self._columns = table_columns(analyzer.manifest.labels, analyzer.action_unit_names)
        self._other_rows: list[Mapping[str, Any]] = []
        if table is not None:
            check_table_path(table)
        settings = {**run_settings(analyzer), "output": str(output) if output else None, "blur": blur}
        self._journal = Journal(journal_path(table, output), "mien predict", settings, resume=resume)
        read = {key for key in self._images if key in self._journal}
        self._done = {key for key in read if self._journal[key]["file"] == _identify(self._images[key])}
        self._changed = read - self._done

    def __exit__(self, *error: object) -> None:
        self._journal.close()

    @property
    def remaining(self) -> list[ImageInput]:
        """The images that are not done."""
        return [image for key, image in self._images.items() if key not in self._done]

    @property
    def copies(self) -> list[Path]:
        """The annotated copies of the images that are done."""
        return [Path(entry["copy"]) for entry in self._entries() if entry["copy"]]

    @property
    def changed(self) -> int:
        """Number of images that the interrupted run has read, and that have changed since; they are read again."""
        return len(self._changed)

    @property
    def stale_copies(self) -> list[Path]:
        """The annotated copies of images that have changed since."""
        entries = (self._journal[key] for key in self._changed)
        return [Path(entry["copy"]) for entry in entries if entry["copy"]]

    def counts(self) -> Counts:
        """Return the counts of the images that are done."""
        counts = Counts()
        for entry in self._entries():
            counts.add(entry["faces"], is_failed=entry["is_failed"])
        return counts

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the images that are done, in the order of the run."""
        return (self._journal[key] for key in self._images if key in self._done)

    def add(self, item: ImageInput | None, result: Result, *, copy: Path | None, is_failed: bool) -> None:
        """Keep the result of one image; `item` is None for an argument without images."""
        rows = flatten_result(result.to_record())
        if item is None:
            self._other_rows += rows
            return
        entry = {
            "file": _identify(item),
            "faces": len(result.faces),
            "is_failed": is_failed,
            "copy": str(copy) if copy else None,
            "rows": rows,
        }
        key = self._keys[id(item)]
        self._journal.add(key, entry)
        self._done.add(key)

    def finish(self) -> None:
        """Write the table and remove the journal: the run is complete."""
        self._write_table()
        self._journal.remove()

    def stop(self, *, is_error: bool) -> str:
        """Keep the images that are done; return for the user where they are and how to continue.

        Args:
            is_error: true leaves an existing table as it is; false replaces it with the rows of these images.
        """
        if not self._done:
            self._journal.remove()
            return "nothing was written"
        place = self._journal.path if is_error and self._table else self._place
        try:
            if not is_error:
                self._write_table()
        except (MienError, OSError):  # a full disk
            place = self._journal.path
        return f"{place} has what was read; continue with the same command and --resume"

    def _write_table(self) -> None:
        if self._table is None:
            return
        with TableFile(self._table, self._columns) as file:
            file.write(self._other_rows)
            for entry in self._entries():
                file.write(entry["rows"])


def _with_keys(images: Iterable[ImageInput]) -> dict[str, ImageInput]:
    """Return the images by their names; an image that is given twice has two keys."""
    keys: dict[str, ImageInput] = {}
    times: Counter[str] = Counter()
    for image in images:
        times[image.name] += 1
        number = times[image.name]
        keys[image.name if number == 1 else f"{image.name}{_END}{number}"] = image
    return keys


def journal_path(table: Path | None, output: Path | None) -> Path:
    """Return the path of the journal: beside the table, or in the folder of the copies."""
    if table is not None:
        return table.with_name(f"{table.name}.{JOURNAL}")
    return (output or Path()) / JOURNAL


def _identify(image: ImageInput) -> list[int] | None:
    """Return size and time of modification of an image file; None if it cannot be read."""
    if not isinstance(image.source, Path):
        return None
    try:
        status = image.source.stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
