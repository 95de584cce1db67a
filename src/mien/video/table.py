"""Table of a video: one row per face and frame, collected in a JSON Lines file during the analysis."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mien.results import VideoFrame
from mien.resume import read_lines
from mien.schema import FACE_COLUMNS, flatten_face, movement_columns
from mien.table_files import TableFile, json_line

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer

_BATCH_ROWS = 1024
EYE_CLOSURE = "eye_closure"
"""Column of the unsmoothed AU43, from which blinks are counted."""
NOSE = ("nose_x", "nose_y")
"""Columns of the nose tip in pixels, which only a second pass needs; see `add_nose`."""
_SMOOTHED = ("label", "confidence", "valence", "arousal")


@dataclass(frozen=True, kw_only=True)
class RowSchema:
    """Classes and action units of the rows of a video.

    Attributes:
        labels: class names in the model's order.
        action_units: names of the estimated action units; empty without them.
    """

    labels: tuple[str, ...]
    action_units: tuple[str, ...] = ()

    @classmethod
    def of(cls, analyzer: Analyzer) -> Self:
        """Return the schema of the results of an analyzer."""
        return cls(labels=analyzer.manifest.labels, action_units=analyzer.action_unit_names)

    @property
    def columns(self) -> dict[str, type]:
        """Names and types of the columns, in order.

        `label`, `confidence`, `valence` and `arousal` are smoothed; `p_...` are the probabilities of this frame, empty
        in frames without a prediction; `s_...` are the smoothed probabilities. Action units and gaze are smoothed;
        `eye_closure` is AU43 of this frame.
        """
        return {
            "frame_index": int, "timestamp_s": float, "scene": int, "track_id": int,
            **FACE_COLUMNS, "label": str, "confidence": float, "valence": float, "arousal": float,
            **{f"p_{name}": float for name in self.labels}, **{f"s_{name}": float for name in self.labels},
            **movement_columns(self.action_units), **({EYE_CLOSURE: float} if self.action_units else {}),
        }  # fmt: skip


def frame_rows(frame: VideoFrame) -> list[dict[str, Any]]:
    """Return the rows of the faces in a frame, without unknown values."""
    shared = {"frame_index": frame.index, "timestamp_s": round(frame.timestamp_s, 6), "scene": frame.scene}
    rows = []
    for face in frame.faces:
        held = replace(face, action_units=face.smoothed_action_units, gaze=face.smoothed_gaze)
        row = {**shared, "track_id": face.track_id, **flatten_face(held.to_record()), **dict.fromkeys(_SMOOTHED)}
        if face.action_units is not None:
            row[EYE_CLOSURE] = round(face.action_units["AU43"], 4)
        if face.smoothed is not None:
            smoothed = face.smoothed.to_dict()
            row |= {name: smoothed[name] for name in _SMOOTHED}
            row |= {f"s_{name}": value for name, value in smoothed["probabilities"].items()}
        rows.append(row)
    return rows


def add_nose(frame: VideoFrame, rows: Sequence[dict[str, Any]]) -> None:
    """Add the position of the nose to the rows of a frame."""
    for face, row in zip(frame.faces, rows, strict=True):
        x, y = face.landmarks_xy[2].tolist()
        row |= {"nose_x": round(x, 1), "nose_y": round(y, 1)}


class RowFile(AbstractContextManager["RowFile"]):
    """A JSON Lines file of rows, readable at any time.

    Args:
        path: of the file.
        schema: of the rows.
        extra: columns that only the analysis needs; `write_table` leaves them out.
        length: bytes of an existing file to keep; 0 for a new one.
    """

    def __init__(self, path: Path, schema: RowSchema, *, extra: Sequence[str] = (), length: int = 0) -> None:
        self._columns = [*schema.columns, *extra]
        self._file = path.open("r+b" if length else "wb")
        self._file.truncate(length)
        self._file.seek(length)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows."""
        for row in rows:
            self._file.write(json_line({name: row.get(name) for name in self._columns}))

    def sync(self) -> int:
        """Write all rows to the disk and return the length of the file in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a `RowFile`, without an incomplete last line."""
    return (row for _, _, row in read_lines(path))


def write_table(rows: Iterable[Mapping[str, Any]], table: Path, schema: RowSchema) -> None:
    """Write rows as .csv, .jsonl or .parquet, without extra columns.

    Raises:
        InputError: when the table cannot be written.
        MissingExtraError: for Parquet without pyarrow.
    """
    columns = schema.columns
    stream = ({name: row[name] for name in columns} for row in rows)
    with TableFile(table, columns) as file:
        while batch := list(islice(stream, _BATCH_ROWS)):
            file.write(batch)
