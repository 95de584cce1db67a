"""Table of a video: rows of a frame, the row file, and the table formats."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from mien.results import Expression, Face, Gaze, HeadPose, Quality, VideoFrame
from mien.video.table import RowFile, RowSchema, frame_rows, read_rows, write_table

LABELS = ("calm", "glad")
SCHEMA = RowSchema(labels=LABELS)
COLUMNS = [
    *("frame_index", "timestamp_s", "scene", "track_id", "x1", "y1", "x2", "y2", "face_confidence", "is_face_doubtful"),
    *("yaw_deg", "pitch_deg", "roll_deg", "size_px", "sharpness", "frontality", "visible"),
    *("label", "confidence", "valence", "arousal", "p_calm", "p_glad", "s_calm", "s_glad"),
]


def expression(glad, label="calm"):
    probabilities = np.array([1 - glad, glad], dtype=np.float32)
    return Expression(labels=LABELS, probabilities=probabilities, label=label, confidence=1 - glad)


def face(number=1, **changes):
    return Face(
        bbox_xyxy=np.array([1.04, 2, 3, 4], dtype=np.float32),
        landmarks_xy=np.zeros((5, 2), dtype=np.float32),
        confidence=0.9,
        track_id=number,
        **changes,
    )


def frame(*faces, index=7):
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    return VideoFrame(index=index, timestamp_s=index / 30, scene=2, image=image, faces=faces)


def numbered(*numbers):
    return [{"frame_index": number} for number in numbers]


def test_frame_without_faces_has_no_rows():
    assert frame_rows(frame()) == []


def test_columns_are_in_order():
    columns = SCHEMA.columns
    assert list(columns) == COLUMNS
    assert {name for name, kind in columns.items() if kind is int} == {"frame_index", "scene", "track_id"}
    assert {name for name, kind in columns.items() if kind is str} == {"label"}


def test_movements_are_smoothed_and_eye_closure_is_not():
    held = {"smoothed_action_units": {"AU43": 0.25}, "smoothed_gaze": Gaze(yaw_deg=3.14, pitch_deg=0.0)}
    predicted = face(action_units={"AU43": 0.75}, **held)
    rows = frame_rows(frame(predicted, face(**held)))
    assert [row["AU43"] for row in rows] == [0.25, 0.25]
    assert [row["gaze_yaw_deg"] for row in rows] == [3.1, 3.1]
    assert [row.get("eye_closure") for row in rows] == [0.75, None]
    columns = replace(SCHEMA, action_units=("AU43",)).columns
    assert list(columns)[-4:] == ["AU43", "gaze_yaw_deg", "gaze_pitch_deg", "eye_closure"]


def test_label_and_confidence_are_smoothed():
    classified = face(
        head_pose=HeadPose(yaw_deg=1.26, pitch_deg=2, roll_deg=3),
        quality=Quality(size_px=50.0, sharpness=0.5, frontality=None, visible=1.0),
        expression=expression(0.75, "glad"),
        smoothed=expression(0.25),
    )
    (row,) = frame_rows(frame(classified))
    assert set(row) == set(COLUMNS)
    assert (row["frame_index"], row["timestamp_s"], row["scene"], row["track_id"]) == (7, 0.233333, 2, 1)
    assert (row["label"], row["confidence"]) == ("calm", 0.75)
    assert [row[name] for name in ("p_calm", "p_glad", "s_calm", "s_glad")] == [0.25, 0.75, 0.75, 0.25]
    assert (row["x1"], row["yaw_deg"], row["size_px"], row["frontality"]) == (1.0, 1.3, 50, None)


def test_tracked_face_has_no_probabilities_of_its_own():
    tracked, unclassified = frame_rows(frame(face(1, smoothed=expression(0.25)), face(2)))
    assert "p_calm" not in tracked
    assert (tracked["label"], tracked["s_glad"]) == ("calm", 0.25)
    assert (unclassified["label"], unclassified["confidence"]) == (None, None)
    assert not [name for name in unclassified if name.startswith(("p_", "s_", "yaw", "size"))]
    (unsmoothed,) = frame_rows(frame(face(expression=expression(0.75, "glad"))))
    assert (unsmoothed["label"], unsmoothed["p_glad"]) == (None, 0.75)


def test_abstention_has_confidence_without_label():
    (row,) = frame_rows(frame(face(smoothed=expression(0.25, None))))
    assert (row["label"], row["confidence"]) == (None, 0.75)


def test_row_file_has_every_column(tmp_path):
    with RowFile(tmp_path / "rows.jsonl", SCHEMA) as file:
        assert file.sync() == 0
        file.add([])
        file.add(frame_rows(frame(face(1), face(2))))
        length = file.sync()
        assert length == (tmp_path / "rows.jsonl").stat().st_size
        rows = list(read_rows(tmp_path / "rows.jsonl"))
    assert [list(row) for row in rows] == [COLUMNS] * 2
    assert [row["track_id"] for row in rows] == [1, 2]


def test_row_file_continues_from_a_length(tmp_path):
    path = tmp_path / "rows.jsonl"
    with RowFile(path, SCHEMA) as file:
        file.add(numbered(0, 1))
        length = file.sync()
        file.add(numbered(2, 3))
    with RowFile(path, SCHEMA, length=length) as file:
        assert file.sync() == length
        file.add(numbered(9))
    assert [row["frame_index"] for row in read_rows(path)] == [0, 1, 9]
    with RowFile(path, SCHEMA) as file:
        file.add(numbered(5))
    assert [row["frame_index"] for row in read_rows(path)] == [5]


@pytest.mark.parametrize("cut", [1, 20, -2, -1])
def test_ignores_incomplete_last_line(tmp_path, cut):
    path = tmp_path / "rows.jsonl"
    with RowFile(path, SCHEMA) as file:
        file.add(numbered(0, 1))
        length = file.sync()
        file.add(numbered(2))
    data = path.read_bytes()
    path.write_bytes(data[: length + cut] if cut > 0 else data[:cut])
    assert [row["frame_index"] for row in read_rows(path)] == [0, 1]


def test_empty_row_file_gives_empty_table(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b"")
    assert list(read_rows(tmp_path / "rows.jsonl")) == []
    write_table(read_rows(tmp_path / "rows.jsonl"), tmp_path / "faces.csv", SCHEMA)
    assert (tmp_path / "faces.csv").read_text(encoding="utf-8").split() == [",".join(COLUMNS)]


@pytest.mark.parametrize("count", [1, 1024, 2500])
def test_table_has_all_rows_in_order(tmp_path, count):
    with RowFile(tmp_path / "rows.jsonl", SCHEMA) as file:
        file.add(numbered(*range(count)))
    write_table(read_rows(tmp_path / "rows.jsonl"), tmp_path / "faces.csv", SCHEMA)
    with (tmp_path / "faces.csv").open(encoding="utf-8", newline="") as table:
        assert [int(row["frame_index"]) for row in csv.DictReader(table)] == list(range(count))


def test_json_lines_table_equals_row_file(tmp_path):
    with RowFile(tmp_path / "rows.jsonl", SCHEMA) as file:
        file.add(frame_rows(frame(face(smoothed=expression(0.25)))))
    write_table(read_rows(tmp_path / "rows.jsonl"), tmp_path / "faces.jsonl", SCHEMA)
    assert (tmp_path / "faces.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()
    assert json.loads((tmp_path / "faces.jsonl").read_text())["p_calm"] is None
