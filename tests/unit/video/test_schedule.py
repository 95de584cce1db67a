"""Detection schedule: by time at any frame rate, by frames on request, slower for live sources."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mien.errors import InputError
from mien.video.schedule import DETECTION_INTERVAL_S, DetectionSchedule


def detections(times_s, schedule=None):
    """Return the times at which the schedule is due."""
    schedule = schedule or DetectionSchedule()
    due = []
    for time_s in times_s:
        if has_detected := schedule.is_due(time_s):
            due.append(time_s)
        schedule.add(time_s, has_detected=has_detected)
    return due


@pytest.mark.parametrize(
    ("fps", "every"),
    [(0.2, 1), (1, 1), (2, 1), (5, 1), (10, 1), (15, 2), (24, 3), (25, 3), (30, 3), (60, 6), (120, 11)],
)
def test_detects_by_time_at_any_frame_rate(fps, every):
    times_s = (np.arange(12 * every) / fps).tolist()
    assert detections(times_s) == times_s[::every]


def test_variable_frame_rate_and_gaps():
    assert detections([0.0, 0.05, 0.1, 0.11, 0.12, 5.0, 5.04, 5.08, 5.1]) == [0.0, 0.1, 5.0, 5.1]


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("fps", [1, 120])
def test_given_interval_counts_frames(every, fps):
    times_s = (np.arange(20) / fps).tolist()
    assert detections(times_s, DetectionSchedule(every)) == times_s[::every]


def test_live_source_leaves_time_for_the_frames_in_between():
    schedule = DetectionSchedule()
    schedule.slow_down(0.2)
    assert schedule.period_s == pytest.approx(0.5)
    for _ in range(40):
        schedule.slow_down(2.0)
    assert schedule.period_s == pytest.approx(2.5, abs=0.01)
    for _ in range(60):
        schedule.slow_down(0.01)
    assert schedule.period_s == DETECTION_INTERVAL_S


def test_is_due_after_restart_and_restored_exactly():
    schedule, other = DetectionSchedule(3), DetectionSchedule(3)
    schedule.add(1.0, has_detected=True)
    schedule.add(1.1, has_detected=False)
    other.restore(json.loads(json.dumps(schedule.state())))
    assert other.state() == schedule.state()
    assert [each.is_due(1.2) for each in (schedule, other)] == [False, False]
    other.restart()
    assert other.is_due(1.2)


@pytest.mark.parametrize("every", [0, -3])
def test_rejects_interval_below_one(every):
    with pytest.raises(InputError, match="detect_every"):
        DetectionSchedule(every)


def test_longest_gap_is_within_a_scene():
    schedule = DetectionSchedule(every=2)
    for time_s, has_detected in ((0.0, True), (0.5, False), (1.0, True)):
        schedule.add(time_s, has_detected=has_detected)
    schedule.restart()
    schedule.add(9.0, has_detected=True)
    schedule.add(9.5, has_detected=True)
    assert schedule.max_gap_s == 1.0
