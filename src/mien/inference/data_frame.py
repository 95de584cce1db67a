"""Predictions beside the columns of a pandas or polars data frame."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mien.errors import InputError
from mien.inference.analyzer import Analyzer
from mien.inference.result import PANDAS_TYPES, Result
from mien.schema import flatten_result, table_columns

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Frame = TypeVar("Frame", "pd.DataFrame", "pl.DataFrame")


def predict_frame(
    frame: Frame, column: str | int, analyzer: Analyzer | None = None, *, all_faces: bool = False, prefix: str = ""
) -> Frame:
    """Return a data frame with the predictions for a column of images beside its other columns.

    The new columns are those of `mien predict --table` without `image`. A row whose image is unreadable or missing has
    `error` and `message`, one without a face only `width` and `height`.

    Args:
        frame: pandas or polars; not modified.
        column: its column of paths (or of another kind of image, see `Analyzer.analyze`).
        analyzer: by default a new `Analyzer()`.
        all_faces: repeat a row for every face of its image; by default only the largest face is kept.
        prefix: text before the names of the new columns.

    Returns:
        The same kind of frame, with the index of pandas kept.

    Raises:
        InputError: if `frame` is not a data frame, has no such column, or already has one of the new columns.
        ModelError: if a network fails.

    Example:
        >>> frame = pd.read_csv("photos.csv")  # doctest: +SKIP
        >>> mien.predict_frame(frame, "path")[["path", "label", "confidence"]]  # doctest: +SKIP
    """
    if not _is_frame(frame):
        raise InputError(f"frame is a {type(frame).__name__}; expected a data frame of pandas or polars.")
    names = [str(name) for name in frame.columns]
    if (count := list(frame.columns).count(column)) != 1:
        problem = "several columns" if count else "no column"
        raise InputError(f"the frame has {problem} {column!r}; it has {', '.join(names)}.")
    analyzer = analyzer or Analyzer()
    kinds = table_columns(analyzer.manifest.labels, analyzer.action_unit_names)
    kinds = {name: kind for name, kind in kinds.items() if name != "image"}
    if taken := [f"{prefix}{name}" for name in kinds if f"{prefix}{name}" in names]:
        raise InputError(f"the frame already has the columns {', '.join(taken)}; give a prefix, such as 'mien_'.")
    images: Any = frame[column]
    positions: list[int] = []
    rows: list[dict[str, Any]] = []
    for position, result in enumerate(analyzer.analyze_many(images.to_list())):
        faces = _rows(result, all_faces=all_faces)
        positions += [position] * len(faces)
        rows += faces
    columns = {f"{prefix}{name}": [row.get(name) for row in rows] for name in kinds}
    return _join(frame, positions, columns, list(kinds.values()))


def _is_frame(frame: object) -> bool:
    """Return whether an object is a data frame, without importing pandas or polars."""
    modules = (sys.modules.get("pandas"), sys.modules.get("polars"))
    return isinstance(frame, tuple(module.DataFrame for module in modules if module is not None))


def _rows(result: Result, *, all_faces: bool) -> list[dict[str, Any]]:
    rows = flatten_result(result.to_record())
    return rows if all_faces else rows[:1]


def _join(frame: Any, positions: list[int], columns: dict[str, list[Any]], kinds: Sequence[type]) -> Any:
    """Repeat rows of a frame and append columns, typed so that missing values stay missing."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(frame, pandas.DataFrame):
        repeated = frame.iloc[positions]
        types = dict(zip(columns, (PANDAS_TYPES[kind] for kind in kinds), strict=True))
        return pandas.concat([repeated, pandas.DataFrame(columns, index=repeated.index).astype(types)], axis=1)
    polars = sys.modules["polars"]
    types = {int: polars.Int64, float: polars.Float64, bool: polars.Boolean, str: polars.String}
    series = [
        polars.Series(name, values, dtype=types[kind])
        for (name, values), kind in zip(columns.items(), kinds, strict=True)
    ]
    return frame[positions].hstack(series)
