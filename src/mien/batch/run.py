"""A resumable batch run: Parquet files of the finished shards, their manifest, and the table of errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.batch.analysis import ShardOutput
from mien.batch.shards import Shard
from mien.errors import InputError, write_error
from mien.resume import Journal
from mien.table_files import TableFile

MANIFEST = "run.jsonl"
"""Name of the manifest in the output folder: the settings of the run, then one line for each finished shard."""
ERRORS = "errors.parquet"
"""Name of the table of inputs that could not be read, or only in part."""
ERROR_COLUMNS = {"item": str, "error": str, "message": str, "is_partial": bool, "shard": str}


@dataclass
class BatchCounts:
    """Progress of a run.

    Attributes:
        shards: finished shards.
        items: images and videos.
        faces: faces; those of a video are tracked faces.
        failures: inputs that could not be read at all.
        incomplete: inputs that could be read only in part.
    """

    shards: int = 0
    items: int = 0
    faces: int = 0
    failures: int = 0
    incomplete: int = 0


class BatchRun(AbstractContextManager["BatchRun"]):
    """A run into a folder; a finished shard is neither analyzed nor written again.

    Args:
        folder: a new or empty folder, or that of an interrupted run with the same settings, which is continued.
        settings: JSON values on which the output depends.
        shards: all shards of the run.

    Raises:
        InputError: the folder has other files or a run with other settings, is in use, or cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], shards: Sequence[Shard]) -> None:
        self._folder = folder
        self._shards = shards
        manifest = folder / MANIFEST
        try:
            if folder.exists() and not manifest.is_file() and any(folder.iterdir()):
                raise InputError(f"{folder} has other files; give a new or empty folder.")
            self._journal = Journal(manifest, "mien batch", settings, resume=True, hint="give a new folder")
            for partial in folder.rglob("*.partial"):
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(folder, error) from None
        done = [shard for shard in shards if shard.name in self._journal and self._path(shard).is_file()]
        self._done = {shard.name for shard in done}
        self.counts = BatchCounts()
        for shard in done:
            entry = self._journal[shard.name]
            self._count(entry)

    @property
    def remaining(self) -> list[Shard]:
        """The shards that are not done."""
        return [shard for shard in self._shards if shard.name not in self._done]

    def add(self, shard: Shard, output: ShardOutput) -> None:
        """Write the table of a finished shard, then its line in the manifest.

        Raises:
            InputError: a file cannot be written, for example because the disk is full.
        """
        path = self._path(shard)
        entry = {"items": output.items, "faces": output.faces, "failures": output.failures}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, output.table)
            self._journal.add(shard.name, entry)
        except OSError as error:
            raise write_error(path, error) from None
        self._done.add(shard.name)
        self._count(entry)

    def write_errors(self) -> None:
        """Write the table of errors of the finished shards.

        Raises:
            InputError: it cannot be written.
        """
        with TableFile(self._folder / ERRORS, ERROR_COLUMNS) as file:
            for name, entry in self._entries():
                file.write([{**failure, "shard": name} for failure in entry["failures"]])

    def _entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((shard.name, self._journal[shard.name]) for shard in self._shards if shard.name in self._done)

    def _path(self, shard: Shard) -> Path:
        return self._folder / f"{shard.name}.parquet"

    def _count(self, entry: Mapping[str, Any]) -> None:
        incomplete = sum(failure["is_partial"] for failure in entry["failures"])
        self.counts.shards += 1
        self.counts.items += entry["items"]
        self.counts.faces += entry["faces"]
        self.counts.failures += len(entry["failures"]) - incomplete
        self.counts.incomplete += incomplete

    def __exit__(self, *error: object) -> None:
        self._journal.close()
