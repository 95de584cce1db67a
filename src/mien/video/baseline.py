"""Neutral baseline of action units: the level of each unit in the neutral face of a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.video.face_rows import FaceRows, read_faces
from mien.video.table import RowSchema, read_rows

NEUTRAL = "neutral"
MIN_NEUTRAL_S = 1.0
"""Minimum seconds labeled neutral from which the baseline is their median."""
MIN_TRACK_S = 10.0
"""Minimum seconds of a track without enough neutral time that gets a baseline: a low quantile of all its rows."""
QUANTILE = 0.1
"""The low quantile."""

Baselines = Mapping[tuple[int, int], Mapping[str, float]]
"""Level of each action unit by scene and track id; a face without a baseline is absent."""


def find_baselines(rows: Iterable[Mapping[str, Any]], schema: RowSchema) -> Baselines:
    """Return the level of each action unit in the neutral face of every person.

    It is the median over the time labeled neutral. A face that is labeled neutral for less than a second and in view
    for at least ten has the 10 % quantile over its track; other faces have no baseline. Both are weighted by time.

    Args:
        rows: see `mien.video.table`; in time order.
        schema: of the rows.

    Raises:
        InputError: when the rows are not in time order, or a row has an unknown label.
    """
    neutral = schema.labels.index(NEUTRAL) if NEUTRAL in schema.labels else None
    faces = read_faces(rows, schema.labels, schema.action_units)
    baselines = {}
    for face in faces:
        levels = _levels(face, neutral)
        if levels is not None:
            baselines[face.scene, face.track_id] = dict(zip(schema.action_units, levels.tolist(), strict=True))
    return baselines


def _levels(face: FaceRows, neutral: int | None) -> np.ndarray | None:
    """Return the levels (K,) of the columns of a face; None where it is not long enough in view."""
    is_known = ~np.isnan(face.columns).any(axis=1)
    seconds = face.end_s - face.begin_s
    is_neutral = is_known & (face.states == neutral)
    if seconds[is_neutral].sum() >= MIN_NEUTRAL_S:
        return _quantile(face.columns[is_neutral], seconds[is_neutral], 0.5)
    if seconds[is_known].sum() >= MIN_TRACK_S:
        return _quantile(face.columns[is_known], seconds[is_known], QUANTILE)
    return None


def _quantile(values: np.ndarray, seconds: np.ndarray, share: float) -> np.ndarray:
    """Return the quantile of each column of values (N, K) over time, interpolated between the middles of the rows."""
    order = values.argsort(axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    durations_s = seconds[order]
    middles_s = durations_s.cumsum(axis=0) - durations_s / 2
    at_s = share * seconds.sum()
    return np.array([np.interp(at_s, *column) for column in zip(middles_s.T, ordered.T, strict=True)])


def subtract_baselines(rows: Iterable[Mapping[str, Any]], baselines: Baselines) -> Iterator[dict[str, Any]]:
    """Yield the rows with action units above the baseline of their face, 0..1; those of other faces are unchanged."""
    for row in rows:
        levels = baselines.get((row["scene"], row["track_id"]), {})
        units = {name: max(0.0, row[name] - level) for name, level in levels.items() if row.get(name) is not None}
        yield {**row, **{name: round(value, 4) for name, value in units.items()}}


def row_reader(path: Path, schema: RowSchema, *, baseline: bool) -> Callable[[], Iterator[dict[str, Any]]]:
    """Return a function that reads the rows of a `RowFile`, with action units above the baselines on request."""
    baselines = find_baselines(read_rows(path), schema) if baseline else {}
    return lambda: subtract_baselines(read_rows(path), baselines)
