"""Temporal smoothing of action units and gaze: first value, half time, blinks and faces without a mesh."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mien.results import Face, Gaze, Quality
from mien.video.movement_smoothing import smooth_movements

FULL_QUALITY = Quality(size_px=100.0, sharpness=1.0, frontality=1.0, visible=1.0)


def face(smile, *, closure=0.0, yaw_deg=None):
    return Face(
        bbox_xyxy=np.zeros(4, dtype=np.float32),
        landmarks_xy=np.zeros((5, 2), dtype=np.float32),
        confidence=0.9,
        quality=FULL_QUALITY,
        action_units=None if smile is None else {"AU12": smile, "AU43": closure},
        gaze=None if yaw_deg is None else Gaze(yaw_deg=yaw_deg, pitch_deg=0.0),
    )


def smooth(*faces, step_s=0.1, time_constant_s=0.2):
    movements = None
    for index, one in enumerate(faces):
        movements = smooth_movements(movements, one, index * step_s, time_constant_s)
    return movements


def test_first_prediction_is_unchanged():
    movements = smooth(face(0.4, closure=0.1, yaw_deg=8.0))
    assert movements.action_units == {"AU12": 0.4, "AU43": 0.1}
    assert movements.gaze == Gaze(yaw_deg=8.0, pitch_deg=0.0)


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_step_response_does_not_depend_on_the_rate(steps):
    movements = smooth(face(0.0), *[face(1.0)] * steps, step_s=0.2 / steps)
    assert movements.action_units["AU12"] == pytest.approx(1 - math.exp(-1))


def test_no_filter_follows_every_frame():
    assert smooth(face(0.0), face(1.0), time_constant_s=0.0).action_units["AU12"] == 1.0


def test_gaze_is_held_during_a_blink():
    movements = smooth(face(0.0, yaw_deg=10.0), face(0.0, closure=0.9))
    assert movements.gaze == Gaze(yaw_deg=10.0, pitch_deg=0.0)


def test_closed_eyes_have_no_gaze_until_they_open():
    closed = [face(0.0, yaw_deg=10.0), *[face(0.0, closure=0.9)] * 10]
    assert smooth(*closed).gaze is None
    opened = smooth(*closed, *[face(0.0, yaw_deg=-10.0)] * 20)
    assert opened.gaze.yaw_deg == pytest.approx(-10.0, abs=0.01)


def test_filter_restarts_after_a_prediction_without_a_mesh():
    assert smooth(face(0.0), face(None)) is None
    assert smooth(face(0.0), face(None), face(1.0)).action_units["AU12"] == 1.0
