"""Rows of a video summed up: none at all first, then one face, gaps, changes, crowds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import InputError
from mien.video.time_bins import Bins, Glimpse
from mien.video.timeline import AWAY, UNREAD, UNSURE, summarize_rows

LABELS = ("neutral", "happiness", "surprise")
GLIMPSE = Glimpse(timestamp_s=0, bbox_xyxy=(0, 0, 1, 1))


def row(time, label="neutral", *, scene=1, track=1, read=True, sharpness=0.5, **others):
    shares = {f"s_{name}": (0.8 if name == label else 0.1) if read else None for name in LABELS}
    return {
        "frame_index": round(time * 10),
        "timestamp_s": time,
        "scene": scene,
        "track_id": track,
        **{"x1": 10.0, "y1": 20.0, "x2": 60.0, "y2": 80.0},
        **{"yaw_deg": 12.0, "pitch_deg": None, "roll_deg": 0.0},
        **{"size_px": 50.0, "sharpness": sharpness, "frontality": None, "visible": 1.0},
        **{"label": label if read else None, "confidence": 0.8 if read else None},
        **shares,
        **others,
    }


def rows(*stretches, fps=10, **others):
    """Rows of one face: (begin, end, label) each, both in tenths of a second."""
    return [row(i / fps, label, **others) for begin, end, label in stretches for i in range(begin, end)]


def test_no_rows_give_an_empty_timeline():
    timeline = summarize_rows([], LABELS)
    assert (timeline.tracks, timeline.scenes, timeline.moments, timeline.end_s) == ((), (), (), 0.0)


def test_one_frame_is_a_face():
    (track,) = summarize_rows([row(2.0)], LABELS).tracks
    assert (track.first_s, track.seconds) == (2.0, pytest.approx(0.04))
    assert track.shares == {"neutral": 1.0, "happiness": 0.0, "surprise": 0.0}
    assert (len(track.curve.states), len(track.glimpses)) == (1, 1)


def test_shares_are_weighted_by_time_and_sum_to_one():
    timeline = summarize_rows(
        [row(0.0, read=False), *rows((1, 6, "happiness"), (6, 8, None), (8, 10, "neutral"))], LABELS
    )
    (track,) = timeline.tracks
    assert track.seconds == pytest.approx(1.0)
    assert (track.unread, track.unsure) == (pytest.approx(0.1), pytest.approx(0.2))
    assert track.shares == pytest.approx({"neutral": 0.2, "happiness": 0.5, "surprise": 0})
    assert track.main_label == "happiness"
    assert track.curve.states.tolist() == [UNREAD] + 5 * [1] + 2 * [UNSURE] + 2 * [0]


def test_a_face_that_was_mostly_unsure_has_no_main_label():
    (track,) = summarize_rows(rows((0, 3, "happiness"), (3, 9, None)), LABELS).tracks
    assert track.main_label is None


def test_a_face_that_was_away_leaves_a_gap():
    (track,) = summarize_rows(rows((0, 10, "neutral"), (30, 40, "neutral")), LABELS).tracks
    assert track.seconds == pytest.approx(2.0)
    assert track.last_s == pytest.approx(4.0)
    assert track.curve.states.tolist() == 10 * [0] + 20 * [AWAY] + 10 * [0]
    assert np.isnan(track.curve.probabilities[10:30]).all()
    assert track.curve.probabilities[5] == pytest.approx([0.8, 0.1, 0.1])
    assert np.isnan(track.curve.pose_deg[5]).tolist() == [False, True, False]
    assert all(glimpse.timestamp_s < 1 or glimpse.timestamp_s >= 3 for glimpse in track.glimpses)


def test_sparse_frames_are_no_absence():
    (track,) = summarize_rows(rows((0, 20, "neutral"), fps=1), LABELS).tracks
    assert track.seconds == pytest.approx(20)
    assert (track.curve.states == 0).all()


@pytest.mark.parametrize("count", [5, 37, 400])
def test_bins_are_bounded_and_lose_no_time(count):
    (track,) = summarize_rows(rows((0, count, "surprise")), LABELS, bins=16).tracks
    curve = track.curve
    assert len(curve.states) <= 16
    assert curve.seconds.sum() == pytest.approx(count / 10)
    assert curve.probabilities[:, 2] == pytest.approx(np.full(len(curve.states), 0.8))
    assert curve.width_s * len(curve.states) >= count / 10 - 1e-9


def test_bins_share_a_value_out_by_time_and_keep_the_better_glimpse():
    bins = Bins(0.0, 1.0, 2, 4)
    better = Glimpse(timestamp_s=5, bbox_xyxy=(0, 0, 2, 2))
    bins.add(0.5, 2.0, np.array([1.0, np.nan]), 0.5, GLIMPSE)
    bins.add(5.0, 6.0, np.array([3.0, 3.0]), 0.9, better)
    assert (bins.count, bins.width_s) == (3, 2.0)
    np.testing.assert_allclose(bins.seconds(), [[1.5, 0], [0, 0], [1, 1]])
    np.testing.assert_allclose(bins.means(), [[1, np.nan], [np.nan, np.nan], [3, 3]])
    assert [glimpse for _, glimpse in bins.glimpses()] == [GLIMPSE, better]


def test_glimpses_are_spread_and_sharp_frames_preferred():
    sharp = [row(i / 10, sharpness=0.9 if i % 10 == 4 else 0.1) for i in range(100)]
    (track,) = summarize_rows(sharp, LABELS).tracks
    assert [round(glimpse.timestamp_s * 10) for glimpse in track.glimpses] == list(range(4, 100, 10))
    assert track.glimpses[0].bbox_xyxy == (10.0, 20.0, 60.0, 80.0)


def test_a_change_is_found_with_its_images():
    (moment,) = summarize_rows(
        rows((0, 20, "neutral"), (20, 22, None), (22, 40, "happiness")), LABELS
    ).moments
    assert (moment.before, moment.after, moment.timestamp_s) == ("neutral", "happiness", 2.2)
    assert moment.seen_before.timestamp_s < 2.0
    assert moment.seen_after.timestamp_s >= 2.2
    assert moment.held_s == pytest.approx(1.7)


@pytest.mark.parametrize(
    "stretches",
    [
        ((0, 20, "neutral"), (20, 22, None), (22, 40, "neutral")),
        ((0, 20, "neutral"), (20, 60, None), (60, 80, "happiness")),
        ((0, 20, "neutral"), (40, 60, "happiness")),
    ],
    ids=["back to the same", "forgotten", "was away"],
)
def test_what_is_no_change(stretches):
    assert summarize_rows(rows(*stretches), LABELS).moments_total == 0


def test_moments_are_bounded_and_the_longest_kept():
    changes = [(5 * i, 5 * i + 5, LABELS[i % 2]) for i in range(20)]
    timeline = summarize_rows(
        rows(*changes, (100, 130, "surprise"), (130, 160, "neutral")), LABELS, moments=1
    )
    assert timeline.moments_total == 21
    assert [(moment.before, moment.after) for moment in timeline.moments] == [("surprise", "neutral")]


def test_the_longest_faces_have_curves_and_all_have_totals():
    stream = [
        row(scene + i / 10, scene=scene + 1, track=1)
        for scene in range(0, 400, 10)
        for i in range(5 + scene // 10)
    ]
    timeline = summarize_rows(stream, LABELS, shown=2)
    assert len(timeline.tracks) == len(timeline.scenes) == 40
    assert [track.scene for track in timeline.tracks if track.curve is not None] == [381, 391]
    assert [track.seconds for track in timeline.tracks] == pytest.approx([(5 + i) / 10 for i in range(40)])
    assert timeline.tracks[0].glimpses == ()


def test_rows_out_of_order_are_refused():
    with pytest.raises(InputError, match="time order"):
        summarize_rows([row(1.0), row(0.5)], LABELS)


def test_a_label_of_another_model_is_refused():
    with pytest.raises(InputError, match="'joy'"):
        summarize_rows([row(0.0, label="joy")], LABELS)
