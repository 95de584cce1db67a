"""Boxes to hide at any time of a video."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.results import Face, VideoFrame
from mien.video.hiding import HOLD_S, HiddenFaces
from mien.video.schedule import DetectionSchedule


def row(time_s, track, left, side=100, scene=1):
    return {"timestamp_s": time_s, "scene": scene, "track_id": track} | dict(
        zip(("x1", "y1", "x2", "y2"), (left, 50, left + side, 50 + side), strict=True)
    )


def lefts(hidden, time_s):
    return sorted(hidden.boxes_at(time_s)[:, 0].tolist())


def frame(time_s, *faces):
    """A frame with faces (number, left, side)."""
    made = [
        Face(
            bbox_xyxy=np.array([left, 50, left + side, 50 + side], dtype=np.float32),
            landmarks_xy=np.zeros((5, 2), dtype=np.float32),
            confidence=0.9,
            track_id=number,
        )
        for number, left, side in faces
    ]
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    return VideoFrame(index=0, timestamp_s=time_s, scene=1, image=image, faces=tuple(made))


def detections(*times_s):
    schedule = DetectionSchedule()
    for time_s in times_s:
        schedule.add(time_s, has_detected=True)
    return schedule


def test_all_hides_every_face_at_its_own_place():
    hidden = HiddenFaces.of_rows([row(1.0, 1, 10), row(1.0, 2, 300), row(1.04, 1, 14), row(1.04, 2, 302)], "all")
    assert lefts(hidden, 1.0) == [10, 300]
    assert lefts(hidden, 1.04) == [14, 302]


@pytest.mark.parametrize("time_s", [1.0 - HOLD_S, 0.9, 1.1, 1.0 + HOLD_S])
def test_hides_the_place_before_and_after_a_detection(time_s):
    assert lefts(HiddenFaces.of_rows([row(1.0, 1, 10)], "all"), time_s) == [10]


@pytest.mark.parametrize("time_s", [0.9 - HOLD_S, 1.1 + HOLD_S])
def test_hides_nothing_long_before_and_after(time_s):
    assert HiddenFaces.of_rows([row(1.0, 1, 10)], "all").boxes_at(time_s).shape == (0, 4)


def test_missed_frame_hides_the_way_between_two_places():
    hidden = HiddenFaces.of_rows([row(1.0, 1, 10), row(1.2, 1, 200), row(1.2, 2, 500)], "all")
    np.testing.assert_array_equal(hidden.boxes_at(1.1), [[10, 50, 300, 150], [500, 50, 600, 150]])


def test_missed_face_is_hidden_in_a_frame_with_others():
    hidden = HiddenFaces.of_rows([row(1.0, 1, 10), row(1.0, 2, 300), row(1.04, 1, 14)], "all")
    assert lefts(hidden, 1.04) == [14, 300]


def test_others_keeps_the_face_that_fills_most_of_a_scene():
    rows = [row(0.0, 1, 10, side=150), row(0.0, 2, 300, side=100), row(0.1, 2, 300), row(0.2, 2, 300)]
    rows += [row(5.0, 1, 10, scene=2), row(5.0, 2, 300, side=120, scene=2), row(9.0, 1, 40, scene=3)]
    hidden = HiddenFaces.of_rows(rows, "others")
    assert [lefts(hidden, time_s) for time_s in (0.0, 0.1, 5.0, 9.0)] == [[10], [10], [10], []]


def test_others_keeps_the_same_face_while_another_is_larger_for_a_moment():
    rows = [row(time / 10, 1, 10) for time in range(10)] + [row(0.5, 2, 300, side=200)]
    hidden = HiddenFaces.of_rows(sorted(rows, key=lambda item: item["timestamp_s"]), "others")
    assert lefts(hidden, 0.5) == [300]


def test_faces_of_the_last_scene_are_not_hidden_in_the_next():
    hidden = HiddenFaces.of_rows([row(1.0, 1, 10), row(1.04, 1, 400, scene=2)], "all")
    assert (lefts(hidden, 1.0), lefts(hidden, 1.04)) == ([10], [400])


def test_live_others_keeps_the_largest_face_of_each_frame():
    hidden, schedule = HiddenFaces("others"), detections(0.0)
    hidden.add(frame(0.0, (1, 10, 100), (2, 300, 50)), schedule)
    assert lefts(hidden, 0.0) == [300]
    hidden.add(frame(0.1, (1, 10, 60), (2, 300, 90)), schedule)
    assert lefts(hidden, 0.1) == [10]
    assert lefts(hidden, 0.2) == [10, 300]


def test_video_without_faces_hides_nothing():
    assert HiddenFaces.of_rows([], "others").boxes_at(1.0).shape == (0, 4)
    assert HiddenFaces("all").boxes_at(1.0).shape == (0, 4)


def test_place_is_hidden_for_the_longest_time_between_two_detections():
    hidden = HiddenFaces.of_rows([row(3.0, 1, 10)], "all", max_gap_s=2.0)
    assert [lefts(hidden, time_s) for time_s in (0.9, 1.0, 5.0, 5.1)] == [[], [10], [10], []]


def test_live_faces_are_ready_up_to_the_last_detection():
    hidden = HiddenFaces("all")
    hidden.add(frame(2.0), detections(0.0))
    assert hidden.ready_s == 0.0
    hidden.add(frame(2.5, (1, 10, 100)), detections(0.0, 2.5))
    assert hidden.ready_s == 2.5 - HOLD_S
    assert lefts(hidden, 0.1) == [10]


def test_rejects_unknown_mode():
    with pytest.raises(InputError, match="blur is 'All'"):
        HiddenFaces("All")
