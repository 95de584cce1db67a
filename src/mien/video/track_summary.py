"""Summary tables of a video: one row per face, or per stretch in which a face keeps its label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.action_units import ACTION_UNITS
from mien.table_files import TableFile
from mien.video.blinks import count_blinks
from mien.video.face_rows import FaceRows, read_faces
from mien.video.label_segments import steady_stretches
from mien.video.table import EYE_CLOSURE, RowSchema
from mien.video.timeline import summarize_face

AFFECT = ("valence", "arousal")
AFFECT_LEVEL = 0.2
"""Valence and arousal above this value are high, below its negative low."""
DECIMALS = 4
"""Decimals of all numbers but times."""
TIME_DECIMALS = 6
"""Decimals of times, as in the table of rows: a time that is rounded up would be after its frame."""
TRACKS = "tracks.csv"
SEGMENTS = "segments.csv"
"""Names of the tables in an output folder."""
_UNIT_COLUMNS = (("mean", ""), ("peak", ""), ("peak", "_s"))
_CLASS_COLUMNS = (("share", ""), *_UNIT_COLUMNS, ("onset", "_s"))
_AFFECT_COLUMNS = (("mean", ""), ("min", ""), ("min", "_s"), ("max", ""), ("max", "_s"), ("high", ""), ("low", ""))


def summary_columns(schema: RowSchema) -> dict[str, type]:
    """Return names and types of the columns of a summary table, in order; see docs/video.md."""
    classes = [f"{what}_{name}{unit}" for name in schema.labels for what, unit in _CLASS_COLUMNS]
    affect = [f"{what}_{name}{unit}" for name in AFFECT for what, unit in _AFFECT_COLUMNS]
    units = [f"{what}_{name}{unit}" for name in _means(schema) for what, unit in _UNIT_COLUMNS]
    return {
        **{"scene": int, "track_id": int, "start_s": float, "end_s": float, "seconds": float, "label": str},
        **dict.fromkeys(["share_unsure", "share_unclassified", *classes, *affect, *units], float),
        **({"blinks": int, "blinks_per_minute": float} if schema.action_units else {}),
    }


def summarize_tracks(
    rows: Iterable[Mapping[str, Any]], schema: RowSchema, *, fps: float | None = None
) -> list[dict[str, Any]]:
    """Return a summary of each face, in the order of appearance, without unknown values; see `summary_columns`.

    Args:
        rows: see `mien.video.table`; in time order.
        schema: of the rows.
        fps: see `mien.video.face_rows.read_faces`.

    Raises:
        InputError: when the rows are not in time order, or a row has an unknown label.
    """
    return [_summarize(face, schema) for face in _read(rows, schema, fps)]


def summarize_segments(
    rows: Iterable[Mapping[str, Any]], schema: RowSchema, *, fps: float | None = None
) -> list[dict[str, Any]]:
    """Return a summary of each stretch in which a face keeps its label, by start time; see `summarize_tracks`."""
    segments = [
        _summarize(face.select(stretch), schema)
        for face in _read(rows, schema, fps)
        for stretch in steady_stretches(face)
    ]
    return sorted(segments, key=lambda segment: (segment["start_s"], segment["scene"], segment["track_id"]))


def write_summaries(
    folder: Path, read_rows: Callable[[], Iterator[Mapping[str, Any]]], schema: RowSchema, *, fps: float | None = None
) -> list[Path]:
    """Write the summaries of all faces and of all stretches into a folder; return the files.

    Args:
        folder: exists.
        read_rows: returns the rows; see `summarize_tracks`.
        schema: of the rows.
        fps: see `mien.video.face_rows.read_faces`.

    Raises:
        InputError: when a table cannot be written.
    """
    columns = summary_columns(schema)
    summaries = {
        TRACKS: summarize_tracks(read_rows(), schema, fps=fps),
        SEGMENTS: summarize_segments(read_rows(), schema, fps=fps),
    }
    for name, rows in summaries.items():
        with TableFile(folder / name, columns) as file:
            file.write([{column: row.get(column) for column in columns} for row in rows])
    return [folder / name for name in summaries]


def _read(rows: Iterable[Mapping[str, Any]], schema: RowSchema, fps: float | None) -> list[FaceRows]:
    return read_faces(rows, schema.labels, _columns(schema), fps=fps)


def _columns(schema: RowSchema) -> list[str]:
    return [*AFFECT, *_means(schema), *([EYE_CLOSURE] if schema.action_units else [])]


def _means(schema: RowSchema) -> list[str]:
    """Return the names of those action units that are not of one side."""
    return [unit.name for unit in ACTION_UNITS if unit.name in schema.action_units]


def _summarize(face: FaceRows, schema: RowSchema) -> dict[str, Any]:
    track = summarize_face(face, schema.labels)
    summary: dict[str, Any] = {
        **{"scene": face.scene, "track_id": face.track_id, "label": track.main_label},
        **{"start_s": track.first_s, "end_s": track.last_s, "seconds": track.seconds},
        **{"share_unsure": track.unsure, "share_unclassified": track.unclassified},
        **{f"share_{name}": share for name, share in track.shares.items()},
    }
    for index, name in enumerate(schema.labels):
        held = np.flatnonzero(face.states == index)
        summary |= _mean_and_peak(face, face.values[:, index], name)
        summary |= {f"onset_{name}_s": float(face.begin_s[held[0]])} if len(held) else {}
    columns = dict(zip(_columns(schema), face.columns.T, strict=True))
    for name in AFFECT:
        summary |= _affect(face, columns[name], name)
    for name in _means(schema):
        summary |= _mean_and_peak(face, columns[name], name)
    if schema.action_units:
        summary |= _blinks(face, columns[EYE_CLOSURE])
    return {name: _rounded(name, value) if isinstance(value, float) else value for name, value in summary.items()}


def _rounded(name: str, value: float) -> float:
    return round(value, TIME_DECIMALS if name.endswith("_s") else DECIMALS)


def _mean_and_peak(face: FaceRows, values: np.ndarray, name: str) -> dict[str, float]:
    """Return the mean over time and the highest value of a column with its time; nothing if it is unknown."""
    if np.isnan(values).all():
        return {}
    peak = int(np.nanargmax(values))
    mean = _mean(face, values)
    return {f"mean_{name}": mean, f"peak_{name}": float(values[peak]), f"peak_{name}_s": float(face.begin_s[peak])}


def _affect(face: FaceRows, values: np.ndarray, name: str) -> dict[str, float]:
    """Return mean, extremes with their times, and the shares of time with high and low values."""
    if np.isnan(values).all():
        return {}
    low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
    return {
        f"mean_{name}": _mean(face, values),
        **{f"min_{name}": float(values[low]), f"min_{name}_s": float(face.begin_s[low])},
        **{f"max_{name}": float(values[high]), f"max_{name}_s": float(face.begin_s[high])},
        f"high_{name}": _mean(face, np.where(np.isnan(values), np.nan, values > AFFECT_LEVEL)),
        f"low_{name}": _mean(face, np.where(np.isnan(values), np.nan, values < -AFFECT_LEVEL)),
    }


def _mean(face: FaceRows, values: np.ndarray) -> float:
    """Return the mean of the known values, weighted by time."""
    is_known = ~np.isnan(values)
    return float(np.average(values[is_known], weights=np.maximum(face.end_s - face.begin_s, 1e-9)[is_known]))


def _blinks(face: FaceRows, closures: np.ndarray) -> dict[str, float]:
    """Return number and rate of the blinks; nothing if the eyes were measured too rarely."""
    is_known = ~np.isnan(closures)
    count = count_blinks(face.begin_s[is_known], closures[is_known])
    if count is None:
        return {}
    return {"blinks": len(count.blinks), "blinks_per_minute": count.per_minute}
