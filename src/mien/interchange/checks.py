"""Checks of the columns and cells of a table before its conversion."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.schema import table_columns
from mien.video.table import RowSchema

VIDEO_COLUMNS = ("timestamp_s", "scene", "track_id", "label")
"""Columns of a table of `mien video` that every format needs, besides those of the classes."""
IMAGE_COLUMNS = ("image", "width", "height", "x1", "y1", "x2", "y2", "label", "confidence")
"""Columns of a table of `mien predict` that every format needs."""

_BOX = ("x1", "y1", "x2", "y2")


def check_columns(table: Path, columns: Sequence[str], required: Iterable[str], format: str) -> None:
    """Raise `InputError` if a table lacks a column that a format needs."""
    for name in required:
        if name not in columns:
            raise InputError(f"{table} has no column {name}, which {format} needs.")


def check_video_rows(
    table: Path, rows: Iterable[Mapping[str, Any]], labels: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table of `mien video`.

    Args:
        table: its path, for messages.
        rows: its rows.
        labels: class names in the model's order.

    Raises:
        InputError: a required cell is empty, or a cell is not a finite number or not text.
    """
    kinds = RowSchema(labels=tuple(labels)).columns
    for number, row in enumerate(rows, start=1):
        where = f"{table}, row {number}"
        _check_kinds(where, row, kinds)
        _check_filled(where, row, ("timestamp_s", "scene", "track_id"))
        if row.get("label") in labels:
            _check_filled(where, row, (f"s_{row['label']}",))
        yield row


def check_image_rows(
    table: Path, rows: Iterable[Mapping[str, Any]], labels: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table of `mien predict`; see `check_video_rows`."""
    kinds = table_columns(labels)
    for number, row in enumerate(rows, start=1):
        where = f"{table}, row {number}"
        _check_kinds(where, row, kinds)
        _check_filled(where, row, ("image",))
        if any(row.get(name) is not None for name in _BOX):
            _check_filled(where, row, (*_BOX, "width", "height", "confidence"))
            for name in ("width", "height"):
                if row[name] <= 0:
                    raise InputError(f"{where}: {name} is {row[name]:g}; expected more than 0.")
        yield row


def _check_kinds(where: str, row: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        value = row.get(name)
        if value is None:
            continue
        if kind is str and not isinstance(value, str):
            raise InputError(f"{where}: {name} is {value!r}; expected text.")
        if kind in (int, float) and not _is_finite(value):
            raise InputError(f"{where}: {name} is {value!r}; expected a finite number.")


def _is_finite(value: Any) -> bool:
    # JSON has integers that no float can hold
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _check_filled(where: str, row: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if row.get(name) in (None, ""):
            raise InputError(f"{where}: {name} is empty.")
