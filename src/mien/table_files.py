"""Tables on disk, row by row: CSV, Parquet and JSON Lines, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from mien.atomic import open_atomic
from mien.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow.parquet

ROWS = 4096
"""Rows of a Parquet file that are written at once."""


class TableFile:
    """A table that is written row by row, in the format of its name; a context manager.

    Rows are written as they come, under a temporary name that becomes the file's own when the block ends well;
    otherwise an older file stays as it was.

    Args:
        path: ends in .csv, .jsonl or .parquet.
        columns: names and kinds (str, int or float) in order; what a row lacks stays empty.

    Raises:
        InputError: when the file's name ends otherwise, or it cannot be written.
        MissingExtraError: for Parquet without pyarrow.
    """

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        if path.suffix.lower() not in KINDS:
            raise InputError(f"{path}: a table's name must end in {' or '.join(KINDS)}.")
        self._path, self._columns = path, dict(columns)
        self._kind = KINDS[path.suffix.lower()]

    def __enter__(self) -> Self:
        try:
            if self._path.is_dir():
                raise InputError(f"{self._path} is a folder.")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                file = stack.enter_context(open_atomic(self._path))
                self._rows = self._kind(file, self._columns)
                stack.callback(self._rows.close)
                self._stack = stack.pop_all()
        except OSError as error:
            raise write_error(self._path, error) from None
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
            raise write_error(self._path, problem) from None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some rows."""
        try:
            self._rows.write(rows)
        except OSError as error:
            raise write_error(self._path, error) from None


def check_table_format(suffix: str) -> None:
    """Make sure that a format can be written here, before anything is worked on for it.

    Raises:
        MissingExtraError: for Parquet without pyarrow.
    """
    if suffix == ".parquet":
        _load_parquet()


def _load_parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("writing Parquet", "table") from None
    return pa, pq


def write_error(path: Path, error: OSError) -> InputError:
    """What to tell when a file cannot be written."""
    return InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}.")


class _CsvRows:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.DictWriter(self._file, list(columns), restval="")
        self._writer.writeheader()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        self._file.detach()  # the binary file below stays open: it is not ours


class _JsonRows:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        self._file, self._columns = file, columns

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._file.write(json_line({name: row.get(name) for name in self._columns}))

    def close(self) -> None:
        pass


def json_line(record: Mapping[str, Any]) -> bytes:
    """One line of a JSON Lines file."""
    return json.dumps(record, separators=(",", ":")).encode("utf-8") + b"\n"


class _ParquetRows:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        pa, pq = _load_parquet()
        kinds = {str: pa.string(), int: pa.int32(), float: pa.float64()}
        self._table = pa.Table
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer: pyarrow.parquet.ParquetWriter = pq.ParquetWriter(file, self._schema)
        self._waiting: list[Mapping[str, Any]] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
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


KINDS: dict[str, type[_CsvRows | _JsonRows | _ParquetRows]] = {
    ".csv": _CsvRows,
    ".jsonl": _JsonRows,
    ".parquet": _ParquetRows,
}
"""How a table is written, by the end of its name."""
