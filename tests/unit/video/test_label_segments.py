"""Label segments: empty, abstentions, absences, several faces."""

from __future__ import annotations

import pytest

from mien.video.label_segments import label_segments
from support.video_rows import LABELS, face_row, face_rows


def spans(segments):
    return [(one.track_id, one.label, round(one.start_s, 3), round(one.end_s, 3)) for one in segments]


def test_no_rows_give_no_segments():
    assert label_segments([], LABELS) == []


def test_stretches_without_a_label_are_left_out():
    rows = face_rows((0, 5, "neutral"), (5, 8, None), (8, 10, "happiness"))
    assert spans(label_segments(rows, LABELS)) == [(1, "neutral", 0.0, 0.5), (1, "happiness", 0.8, 1.0)]


def test_confidence_is_the_mean_probability_of_the_label():
    rows = face_rows((0, 4, "neutral"))
    rows[0]["s_neutral"] = 0.4
    (segment,) = label_segments(rows, LABELS)
    assert segment.confidence == pytest.approx((0.4 + 3 * 0.8) / 4)


def test_an_absence_splits_a_segment():
    rows = face_rows((0, 5, "neutral"), (20, 25, "neutral"))
    assert spans(label_segments(rows, LABELS)) == [(1, "neutral", 0.0, 0.5), (1, "neutral", 2.0, 2.5)]


def test_single_frames_last_as_long_as_given():
    rows = [face_row(0.0, track=1), face_row(2.0, track=2)]
    assert spans(label_segments(rows, LABELS, fps=2)) == [(1, "neutral", 0.0, 0.5), (2, "neutral", 2.0, 2.5)]


def test_faces_are_in_the_order_of_time():
    first, second = face_rows((0, 5, "neutral")), face_rows((2, 4, "surprise"), track=2)
    rows = sorted(first + second, key=lambda row: (row["timestamp_s"], row["track_id"]))
    assert spans(label_segments(rows, LABELS)) == [(1, "neutral", 0.0, 0.5), (2, "surprise", 0.2, 0.4)]
