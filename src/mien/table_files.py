"""CSV, JSON Lines and Parquet tables, written row by row and atomically, and read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from mien.addresses import path_problem
from mien.atomic import open_atomic
from mien.errors import InputError, MissingExtraError, reason, write_error

if TYPE_CHECKING:
    import pyarrow.parquet

PARQUET_BATCH_ROWS = 4096
"""Number of rows per write to a Parquet file."""


class TableFile:
    """Table file written row by row; a context manager.

    The file is written atomically: when the block raises, an existing file stays unchanged.

    Args:
        path: path that ends in .csv, .jsonl or .parquet.
        columns: column names and types (str, int, float or bool) in order; missing values stay empty.

    Raises:
        InputError: on another suffix, or when the file cannot be written.
        MissingExtraError: for Parquet without pyarrow.
    """

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        check_table_path(path)
        self._path = path
        self._columns = dict(columns)
        self._format = FORMATS[path.suffix.lower()]

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                file = stack.enter_context(open_atomic(self._path))
                self._writer = self._format(file, self._columns)
                stack.callback(self._writer.close)
                self._stack = stack.pop_all()
        except OSError as error:
            raise write_error(self._path, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # a full disk fails again when the file is closed, which must not hide the first error
            with suppress(OSError):
                self._stack.__exit__(kind, error, trace)
            return
        try:
            self._stack.close()
        except OSError as close_error:
            raise write_error(self._path, close_error) from None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows."""
        try:
            self._writer.write(rows)
        except OSError as error:
            raise write_error(self._path, error) from None


def check_table_path(path: Path) -> None:
    """Raise early when a table cannot be written in the format of its suffix.

    Raises:
        InputError: on a folder, and on another suffix than .csv, .jsonl and .parquet.
        MissingExtraError: for Parquet without pyarrow.
    """
    if problem := path_problem(path):
        raise InputError(problem)
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: unknown table format; expected a name that ends in {' or '.join(FORMATS)}.")
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory; expected a file name.")
    except OSError as error:
        raise InputError(f"{path}: {reason(error)}.") from None
    if suffix == ".parquet":
        _load_parquet()


def read_table(path: Path, columns: Mapping[str, type]) -> tuple[tuple[str, ...], Iterator[dict[str, Any]]]:
    """Return the column names of a table and its rows, which are read lazily; a missing value is None.

    A .jsonl file without rows has no column names.

    Args:
        path: path that ends in .csv, .jsonl or .parquet.
        columns: types of columns that are not numbers (str or bool); CSV files do not state them.

    Raises:
        InputError: on another suffix, when the file cannot be read or is not such a table; also while reading rows.
        MissingExtraError: for Parquet without pyarrow.
    """
    check_table_path(path)
    rows = _guarded(path, _READERS[path.suffix.lower()](path, columns))
    names = next(rows, ())
    # the first row is read here, so that a file of another kind raises before its rows are used
    return names, chain(list(islice(rows, 1)), rows)


def _guarded(path: Path, rows: Iterator[Any]) -> Iterator[Any]:
    """Yield the column names, then the rows; an exception of the reader becomes an `InputError` that names the file."""
    try:
        yield from rows
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason(error)}.") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{path} is not a table of mien: {' '.join(str(error).split())}.") from None


def _read_csv(path: Path, columns: Mapping[str, type]) -> Iterator[Any]:
    kinds = {str: str, bool: "True".__eq__}
    with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes a byte order mark
        reader = csv.DictReader(file, strict=True)
        if reader.fieldnames is None:
            raise ValueError("it has no header")
        yield tuple(reader.fieldnames)
        for number, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise ValueError(f"row {number} has another number of cells than the header")
            yield {
                name: kinds.get(columns.get(name), _number_or_text)(cell) if cell else None
                for name, cell in row.items()
            }


def _number_or_text(cell: str) -> float | str:
    """Return a cell as a number; text stays text, because a table may have other columns than those of mien."""
    try:
        return float(cell)
    except ValueError:
        return cell


def _read_json_lines(path: Path, columns: Mapping[str, type]) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line is not a JSON object")
            if number == 0:
                yield tuple(row)
            yield row


def _read_parquet(path: Path, columns: Mapping[str, type]) -> Iterator[Any]:
    _, pq = _load_parquet()
    with pq.ParquetFile(path) as file:
        yield tuple(file.schema_arrow.names)
        for batch in file.iter_batches(PARQUET_BATCH_ROWS):
            yield from batch.to_pylist()


_READERS = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}


def _load_parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("Parquet", "table") from None
    return pa, pq


class _CsvWriter:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.DictWriter(self._file, list(columns), restval="")
        self._writer.writeheader()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        # Detach instead of closing: the caller owns the binary file.
        self._file.detach()


class _JsonLinesWriter:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        self._file = file
        self._columns = columns

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._file.write(json_line({name: row.get(name) for name in self._columns}))

    def close(self) -> None:
        pass


def json_line(record: Mapping[str, Any]) -> bytes:
    """Return one line of a JSON Lines file."""
    return json.dumps(record, separators=(",", ":")).encode("utf-8") + b"\n"


class _ParquetWriter:
    def __init__(self, file: IO[bytes], columns: dict[str, type]) -> None:
        pa, pq = _load_parquet()
        types = {str: pa.string(), int: pa.int32(), float: pa.float64(), bool: pa.bool_()}
        self._table = pa.Table
        self._schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        self._writer: pyarrow.parquet.ParquetWriter = pq.ParquetWriter(file, self._schema)
        self._pending: list[Mapping[str, Any]] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._pending += rows
        if len(self._pending) >= PARQUET_BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(self._table.from_pylist(self._pending, schema=self._schema))
        self._pending = []


FORMATS = {".csv": _CsvWriter, ".jsonl": _JsonLinesWriter, ".parquet": _ParquetWriter}
"""Writer of each table format by lower-case suffix."""
