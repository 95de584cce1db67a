"""Neutral baseline: neutral time, low quantile, short tracks, and its subtraction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mien.video.baseline import find_baselines, subtract_baselines
from mien.video.table import RowSchema
from support.video_rows import LABELS, face_row, face_rows

SCHEMA = RowSchema(labels=LABELS, action_units=("AU04", "AU12"))


def with_units(rows, brow, smile):
    return [row | {"AU04": brow, "AU12": smile} for row in rows]


def test_baseline_is_the_median_of_neutral_time():
    rows = with_units(face_rows((0, 15, "neutral")), 0.6, 0.1) + with_units(face_rows((15, 60, "happiness")), 0.7, 0.9)
    assert find_baselines(rows, SCHEMA) == {(1, 1): {"AU04": 0.6, "AU12": 0.1}}


def test_baseline_without_neutral_time_is_a_low_quantile():
    rows = with_units(face_rows((0, 20, "surprise")), 0.2, 0.1) + with_units(
        face_rows((20, 120, "happiness")), 0.7, 0.9
    )
    assert find_baselines(rows, SCHEMA) == {(1, 1): {"AU04": 0.2, "AU12": 0.1}}


@pytest.mark.parametrize("label", ["neutral", "happiness"])
def test_rows_are_weighted_by_time(label):
    still = [face_row(float(second), label) for second in range(20)]
    moving = [face_row(20 + index / 30, label) for index in range(45)]
    rows = with_units(still, 0.1, 0.6) + with_units(moving, 0.5, 0.2)
    baseline = find_baselines(rows, SCHEMA)[1, 1]
    assert baseline["AU04"] == pytest.approx(0.1)
    assert baseline["AU12"] == pytest.approx(0.6)


def test_median_of_few_rows_is_that_of_their_values():
    slow = [face_row(float(second)) for second in range(4)]
    rows = [row | {"AU04": value, "AU12": 0.0} for row, value in zip(slow, (0.4, 0.1, 0.2, 0.3), strict=True)]
    assert find_baselines(rows, SCHEMA)[1, 1]["AU04"] == pytest.approx(0.25)


def test_short_track_without_neutral_time_has_no_baseline():
    rows = with_units(face_rows((0, 9, "neutral"), (9, 60, "happiness")), 0.7, 0.9)
    assert find_baselines(rows, SCHEMA) == {}
    assert list(subtract_baselines(rows, {})) == rows


def test_every_face_has_its_own_baseline():
    rows = with_units(face_rows((0, 20, "neutral")), 0.6, 0.1) + with_units(
        face_rows((20, 40, "neutral"), track=2), 0.2, 0
    )
    baselines = find_baselines(rows, SCHEMA)
    assert baselines[1, 1]["AU04"] == 0.6
    assert baselines[1, 2]["AU04"] == 0.2


def test_labels_without_neutral_use_the_quantile():
    rows = [row | {"label": None} for row in with_units(face_rows((0, 120, None)), 0.3, 0.1)]
    assert find_baselines(rows, replace(SCHEMA, labels=("happiness",))) == {(1, 1): {"AU04": 0.3, "AU12": 0.1}}


def test_units_are_clipped_at_zero_and_unknown_ones_stay_unknown():
    rows = [{"scene": 1, "track_id": 1, "AU04": 0.5, "AU12": value} for value in (0.9, 0.1, None)]
    subtracted = list(subtract_baselines(rows, {(1, 1): {"AU04": 0.2, "AU12": 0.25}}))
    assert [row["AU12"] for row in subtracted] == [pytest.approx(0.65), 0.0, None]
    assert [row["AU04"] for row in subtracted] == [0.3, 0.3, 0.3]
