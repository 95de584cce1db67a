"""Timeline of a video: empty, one face, absences, transitions, many faces, rejected rows."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.video.timeline import ABSENT, UNCLASSIFIED, UNSURE, summarize_rows

LABELS = ("neutral", "happiness", "surprise")


def row(time, label="neutral", *, scene=1, track=1, classified=True, sharpness=0.5, **others):
    shares = {f"s_{name}": (0.8 if name == label else 0.1) if classified else None for name in LABELS}
    return {
        "frame_index": round(time * 10),
        "timestamp_s": time,
        "scene": scene,
        "track_id": track,
        **{"x1": 10.0, "y1": 20.0, "x2": 60.0, "y2": 80.0},
        **{"yaw_deg": 12.0, "pitch_deg": None, "roll_deg": 0.0},
        **{"size_px": 50.0, "sharpness": sharpness, "frontality": None, "visible": 1.0},
        **{"label": label if classified else None, "confidence": 0.8 if classified else None},
        **shares,
        **others,
    }


def rows(*stretches, fps=10, **others):
    """Rows of one face: (begin, end, label) each, both in tenths of a second."""
    return [row(i / fps, label, **others) for begin, end, label in stretches for i in range(begin, end)]


def test_no_rows_give_an_empty_timeline():
    timeline = summarize_rows([], LABELS)
    assert (timeline.tracks, timeline.scenes, timeline.transitions, timeline.end_s) == ((), (), (), 0.0)


def test_one_frame_gives_a_track():
    (track,) = summarize_rows([row(2.0)], LABELS).tracks
    assert (track.first_s, track.seconds) == (2.0, pytest.approx(0.1))
    assert track.shares == {"neutral": 1.0, "happiness": 0.0, "surprise": 0.0}
    assert (len(track.curve.states), len(track.thumbnails)) == (1, 1)


@pytest.mark.parametrize(("fps", "seconds"), [(None, 0.04), (1, 1.0)])
def test_the_first_frame_as_the_only_one_lasts_as_long_as_a_frame_of_the_video(fps, seconds):
    (track,) = summarize_rows([row(0.0)], LABELS, fps=fps).tracks
    assert track.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("fps", [None, 1])
def test_faces_in_few_frames_last_one_frame_each(fps):
    stream = [row(time, track=number, frame_index=time) for number, time in enumerate((3, 35, 36))]
    tracks = summarize_rows(stream, LABELS, fps=fps).tracks
    assert [(track.first_s, track.last_s) for track in tracks] == [(3, 4), (35, 36), (36, 37)]


def test_rare_faces_last_as_long_as_those_in_neighboring_frames():
    stream = [row(0.5, track=1), *rows((20, 30, "neutral"), track=2), row(9.5, track=3)]
    assert [track.seconds for track in summarize_rows(stream, LABELS).tracks] == pytest.approx([0.1, 1.0, 0.1])


def test_a_face_ends_before_the_next_frame_with_a_face():
    stream = [row(0.0), row(1.0), row(1.2, track=2), row(2.2, track=2)]
    assert [track.last_s for track in summarize_rows(stream, LABELS).tracks] == pytest.approx([1.2, 3.2])


def test_frames_of_a_sampled_video_last_until_the_next_analyzed_one():
    (track,) = summarize_rows([row(time, frame_index=25 * time) for time in range(5)], LABELS).tracks
    assert (track.seconds, track.last_s) == (5, 5)


def test_shares_are_weighted_by_time_and_sum_to_one():
    timeline = summarize_rows(
        [row(0.0, classified=False), *rows((1, 6, "happiness"), (6, 8, None), (8, 10, "neutral"))], LABELS
    )
    (track,) = timeline.tracks
    assert track.seconds == pytest.approx(1.0)
    assert (track.unclassified, track.unsure) == (pytest.approx(0.1), pytest.approx(0.2))
    assert track.shares == pytest.approx({"neutral": 0.2, "happiness": 0.5, "surprise": 0})
    assert track.main_label == "happiness"
    assert track.curve.states.tolist() == [UNCLASSIFIED] + 5 * [1] + 2 * [UNSURE] + 2 * [0]


def test_mostly_unsure_face_has_no_main_label():
    (track,) = summarize_rows(rows((0, 3, "happiness"), (3, 9, None)), LABELS).tracks
    assert track.main_label is None


def test_absence_leaves_a_gap():
    (track,) = summarize_rows(rows((0, 10, "neutral"), (30, 40, "neutral")), LABELS).tracks
    assert track.seconds == pytest.approx(2.0)
    assert track.last_s == pytest.approx(4.0)
    assert track.curve.states.tolist() == 10 * [0] + 20 * [ABSENT] + 10 * [0]
    assert np.isnan(track.curve.probabilities[10:30]).all()
    assert track.curve.probabilities[5] == pytest.approx([0.8, 0.1, 0.1])
    assert np.isnan(track.curve.pose_deg[5]).tolist() == [False, True, False]
    assert all(item.timestamp_s < 1 or item.timestamp_s >= 3 for item in track.thumbnails)


def test_low_frame_rate_is_not_an_absence():
    (track,) = summarize_rows(rows((0, 20, "neutral"), fps=1), LABELS).tracks
    assert track.seconds == pytest.approx(20)
    assert (track.curve.states == 0).all()


@pytest.mark.parametrize("count", [5, 37, 400])
def test_curve_has_at_most_max_bins_and_loses_no_time(count):
    (track,) = summarize_rows(rows((0, count, "surprise")), LABELS, max_bins=16).tracks
    curve = track.curve
    assert len(curve.states) <= 16
    assert curve.seconds.sum() == pytest.approx(count / 10)
    assert curve.probabilities[:, 2] == pytest.approx(np.full(len(curve.states), 0.8))
    assert curve.width_s * len(curve.states) >= count / 10 - 1e-9


def test_thumbnails_are_spread_and_prefer_sharp_frames():
    sharp = [row(i / 10, sharpness=0.9 if i % 10 == 4 else 0.1) for i in range(100)]
    (track,) = summarize_rows(sharp, LABELS).tracks
    assert [round(item.timestamp_s * 10) for item in track.thumbnails] == list(range(4, 100, 10))
    assert track.thumbnails[0].bbox_xyxy == (10.0, 20.0, 60.0, 80.0)


def test_transition_has_images_of_both_labels():
    (transition,) = summarize_rows(rows((0, 20, "neutral"), (20, 22, None), (22, 40, "happiness")), LABELS).transitions
    assert (transition.before, transition.after, transition.timestamp_s) == ("neutral", "happiness", 2.2)
    assert transition.location_before.timestamp_s < 2.0
    assert transition.location_after.timestamp_s >= 2.2
    assert transition.held_s == pytest.approx(1.8)


@pytest.mark.parametrize("fps", [0.05, 0.2, 1, 25])
def test_transitions_are_found_at_any_frame_rate(fps):
    (transition,) = summarize_rows(rows((0, 20, "neutral"), (20, 40, "happiness"), fps=fps), LABELS).transitions
    assert (transition.before, transition.after, transition.timestamp_s) == ("neutral", "happiness", 20 / fps)
    assert transition.held_s == pytest.approx(20 / fps)


def test_images_of_a_transition_are_of_predicted_frames():
    """Frames in between hold the old label, although the face may have changed already."""
    stream = rows((0, 23, "neutral"), (23, 40, "happiness"))
    for index, each in enumerate(stream):
        each["p_neutral"] = 0.5 if index % 10 == 3 else None
    (transition,) = summarize_rows(stream, LABELS).transitions
    assert (transition.location_before.timestamp_s, transition.location_after.timestamp_s) == (1.3, 2.3)


def test_curve_of_a_variable_frame_rate_has_bins_of_the_usual_step():
    for first_s in (0.001, 0.9):
        times = [0, *(first_s + 0.1 * i for i in range(20))]
        (track,) = summarize_rows([row(time) for time in times], LABELS).tracks
        assert track.curve.width_s == pytest.approx(0.1, rel=0.06)


@pytest.mark.parametrize(
    "stretches",
    [
        ((0, 20, "neutral"), (20, 22, None), (22, 40, "neutral")),
        ((0, 20, "neutral"), (20, 60, None), (60, 80, "happiness")),
        ((0, 20, "neutral"), (40, 60, "happiness")),
    ],
    ids=["same label again", "long without a label", "absent"],
)
def test_not_a_transition(stretches):
    assert summarize_rows(rows(*stretches), LABELS).transition_count == 0


def test_keeps_the_clearest_transitions():
    changes = [(5 * i, 5 * i + 5, LABELS[i % 2]) for i in range(20)]
    timeline = summarize_rows(rows(*changes, (100, 130, "surprise"), (130, 160, "neutral")), LABELS, max_transitions=1)
    assert timeline.transition_count == 21
    assert [(item.before, item.after) for item in timeline.transitions] == [("surprise", "neutral")]


def test_longest_faces_have_curves_and_all_have_totals():
    stream = [
        row(scene + i / 10, scene=scene + 1, track=1) for scene in range(0, 400, 10) for i in range(5 + scene // 10)
    ]
    timeline = summarize_rows(stream, LABELS, max_curves=2)
    assert len(timeline.tracks) == len(timeline.scenes) == 40
    assert [track.scene for track in timeline.tracks if track.curve is not None] == [381, 391]
    assert [track.seconds for track in timeline.tracks] == pytest.approx([(5 + i) / 10 for i in range(40)])
    assert timeline.tracks[0].thumbnails == ()


def test_rejects_rows_out_of_order():
    with pytest.raises(InputError, match="time order"):
        summarize_rows([row(1.0), row(0.5)], LABELS)


def test_rejects_label_of_another_model():
    with pytest.raises(InputError, match="'joy'"):
        summarize_rows([row(0.0, label="joy")], LABELS)
