"""The table of a video: one row a face and frame, and the file in which rows gather while a video is analyzed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.results import VideoFrame
from mien.schema import FACE_COLUMNS, flatten_face
from mien.table_files import TableFile, json_line
from mien.video.closing import Closing

_AT_ONCE = 1024


def row_columns(labels: Sequence[str]) -> dict[str, type]:
    """Names and kinds of the columns, in order.

    `label` and `confidence` are the steady ones; `p_...` what this frame alone shows, empty between two readings;
    `s_...` the smoothed probabilities.
    """
    return {
        "frame_index": int, "timestamp_s": float, "scene": int, "track_id": int,
        **FACE_COLUMNS, "label": str, "confidence": float,
        **{f"p_{name}": float for name in labels}, **{f"s_{name}": float for name in labels},
    }  # fmt: skip


def frame_rows(frame: VideoFrame) -> list[dict[str, Any]]:
    """The rows of one frame's faces; what is not known is left out."""
    shared = {
        "frame_index": frame.index,
        "timestamp_s": round(frame.timestamp_s, 6),
        "scene": frame.scene,
    }
    rows = []
    for face in frame.faces:
        row = {
            **shared,
            "track_id": face.track_id,
            **flatten_face(face.to_record()),
            "label": None,
            "confidence": None,
        }
        if face.smoothed is not None:
            steady = face.smoothed.to_dict()
            row |= {"label": steady["label"], "confidence": steady["confidence"]}
            row |= {f"s_{name}": value for name, value in steady["probabilities"].items()}
        rows.append(row)
    return rows


class RowFile(Closing):
    """Rows that gather in a JSON Lines file: readable at any time, cut back to a known length, and gone on with.

    Args:
        path: of the file.
        labels: class names.
        length: bytes that are kept of a file that is there; 0 begins anew.
    """

    def __init__(self, path: Path, labels: Sequence[str], *, length: int = 0) -> None:
        self.path, self._columns = path, row_columns(labels)
        self._file = path.open("r+b" if length else "wb")
        self._file.truncate(length)
        self._file.seek(length)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some rows at the end."""
        for row in rows:
            self._file.write(json_line({name: row.get(name) for name in self._columns}))

    def settle(self) -> int:
        """Bring all rows to the disk; returns the file's length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """No more rows come."""
        self._file.close()


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a `RowFile`, one by one; what a kill left of the last one is passed over."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def write_table(rows: Path, table: Path, labels: Sequence[str]) -> None:
    """The rows of a `RowFile` as .csv, .jsonl or .parquet.

    Raises:
        InputError: when the table cannot be written.
        MissingExtraError: for Parquet without pyarrow.
    """
    with TableFile(table, row_columns(labels)) as file:
        waiting: list[dict[str, Any]] = []
        for row in read_rows(rows):
            waiting.append(row)
            if len(waiting) == _AT_ONCE:
                file.write(waiting)
                waiting = []
        file.write(waiting)
