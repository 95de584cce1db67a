"""Summary tables: shares, means, peaks, onsets, valence, action units and blinks of faces and segments."""

from __future__ import annotations

import csv

import pytest

from mien.video.table import RowSchema
from mien.video.track_summary import summarize_segments, summarize_tracks, summary_columns, write_summaries
from support.video_rows import LABELS, face_row, face_rows

CLASSES = RowSchema(labels=LABELS)
SCHEMA = RowSchema(labels=LABELS, action_units=("AU12", "AU12_L", "AU12_R", "AU43"))


def test_video_without_faces_has_no_summaries():
    assert summarize_tracks([], CLASSES) == summarize_segments([], CLASSES) == []


def test_classes_of_a_track():
    (track,) = summarize_tracks(face_rows((0, 30, "neutral"), (30, 40, "happiness")), CLASSES)
    assert (track["start_s"], track["end_s"], track["label"]) == (0.0, 4.0, "neutral")
    assert (track["share_neutral"], track["share_happiness"], track["share_surprise"]) == (0.75, 0.25, 0.0)
    assert track["mean_happiness"] == pytest.approx(0.75 * 0.1 + 0.25 * 0.8)
    assert (track["peak_happiness"], track["peak_happiness_s"], track["onset_happiness_s"]) == (0.8, 3.0, 3.0)
    assert "onset_surprise_s" not in track


def test_means_are_weighted_by_time():
    fast = face_rows((0, 10, "neutral"))
    slow = [face_row(1.0 + 0.4 * index, "happiness") for index in range(5)]
    (track,) = summarize_tracks([*fast, *slow], CLASSES)
    assert track["mean_happiness"] == pytest.approx(
        0.1 * track["share_neutral"] + 0.8 * track["share_happiness"], abs=1e-3
    )


def test_valence_and_arousal_of_a_track():
    rows = [row | {"valence": index / 10 - 0.5} for index, row in enumerate(face_rows((0, 11, "neutral")))]
    (track,) = summarize_tracks(rows, CLASSES)
    assert track["mean_valence"] == pytest.approx(0.0)
    assert (track["min_valence"], track["min_valence_s"]) == (-0.5, 0.0)
    assert (track["max_valence"], track["max_valence_s"]) == (0.5, 1.0)
    assert track["high_valence"] == track["low_valence"] == pytest.approx(3 / 11, abs=1e-3)
    assert "mean_arousal" not in track


def test_action_units_of_a_track():
    rows = [row | {"AU12": index / 10} for index, row in enumerate(face_rows((0, 10, "neutral")))]
    (track,) = summarize_tracks(rows, SCHEMA)
    assert (track["mean_AU12"], track["peak_AU12"], track["peak_AU12_s"]) == (pytest.approx(0.45), 0.9, 0.9)
    assert "blinks" not in track
    columns = summary_columns(SCHEMA)
    assert "mean_AU12" in columns
    assert "mean_AU12_L" not in columns


def test_blinks_of_a_track():
    closures = ([0.1] * 20 + [0.4, 0.7, 0.7, 0.4] + [0.1] * 26) * 3
    rows = [face_row(index / 25) | {"eye_closure": closure} for index, closure in enumerate(closures)]
    (track,) = summarize_tracks(rows, SCHEMA)
    assert track["blinks"] == 3
    assert track["blinks_per_minute"] == pytest.approx(3 / (149 / 25 / 60), abs=0.01)


def test_segments_are_in_time_order_and_leave_out_unsure_time():
    first = face_rows((0, 10, "neutral"), (10, 20, None), (20, 40, "happiness"))
    second = face_rows((5, 40, "surprise"), track=2)
    rows = sorted([*first, *second], key=lambda row: row["timestamp_s"])
    segments = summarize_segments(rows, CLASSES)
    assert [(item["track_id"], item["label"]) for item in segments] == [
        (1, "neutral"),
        (2, "surprise"),
        (1, "happiness"),
    ]
    assert [(item["start_s"], item["end_s"]) for item in segments] == [(0.0, 1.0), (0.5, 4.0), (2.0, 4.0)]


def test_times_are_those_of_the_rows():
    rows = [face_row(round(index / 30, 6)) for index in range(20, 30)]
    rows[2]["s_neutral"] = 0.95
    for summarize in (summarize_tracks, summarize_segments):
        (summary,) = summarize(rows, SCHEMA)
        assert summary["start_s"] == summary["onset_neutral_s"] == rows[0]["timestamp_s"] == 0.666667
        assert summary["peak_neutral_s"] == rows[2]["timestamp_s"] == 0.733333
        assert summary["share_neutral"] == 1


def test_tables_have_the_documented_columns(tmp_path):
    rows = face_rows((0, 10, "neutral"), (10, 20, "happiness"))
    files = write_summaries(tmp_path, lambda: iter(rows), SCHEMA)
    assert [path.name for path in files] == ["tracks.csv", "segments.csv"]
    for path, count in zip(files, (1, 2), strict=True):
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        assert len(table) == count
        assert list(table[0]) == list(summary_columns(SCHEMA))


@pytest.mark.parametrize("schema", [CLASSES, SCHEMA])
def test_every_value_has_a_column(schema):
    extra = {"valence": 0.1, "arousal": 0.2, "AU12": 0.3, "AU43": 0.1, "eye_closure": 0.1}
    rows = [face_row(index / 20) | extra for index in range(20)]
    (track,) = summarize_tracks(rows, schema)
    assert set(track) <= set(summary_columns(schema))
