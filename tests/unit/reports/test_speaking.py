from __future__ import annotations

from dataclasses import replace

import pytest

from mien.number_format import UNDEFINED
from mien.reports.speaking import turn_cells, turns_of, turns_without_face, voice_chart
from mien.reports.time_charts import Span
from mien.video.speaking import join_turns
from support.mouths import face_manifest, mouth_of, mouth_rows, sound_track, syllables, voice_segment

SPAN = Span(start_s=10.0, end_s=20.0)


@pytest.fixture(scope="module")
def turns():
    """Return a turn of face 1 and one without a face."""
    speech = syllables(0)
    (turn,) = join_turns(mouth_rows(mouth_of(speech)), sound_track(speech, voice_segment(10.0, 13.5)), face_manifest())
    nobody = replace(turn, start_s=15.0, end_s=16.0, status="no_match", scene=None, track_id=None, fusion=None)
    return turn, nobody


def test_chart_shows_turns_and_arousal(turns):
    chart = voice_chart(turns, SPAN)
    paths = dict(chart.paths)
    assert chart.view_box == "0 0 1000 100"
    assert paths["turn"] == "M0 0h350v100h-350zM500 0h100v100h-100z"
    assert paths["arousal"] == "M0 50h350v-20h-350zM500 50h100v-20h-100z"


def test_chart_leaves_out_what_is_outside_the_span(turns):
    assert voice_chart(turns, Span(start_s=30, end_s=40)).paths == ()
    assert dict(voice_chart(turns, Span(start_s=12, end_s=14)).paths)["turn"] == "M0 0h750v100h-750z"


def test_turns_are_divided_by_face(turns):
    assert turns_of(turns, 1, 1) == [turns[0]]
    assert turns_of(turns, 2, 1) == []
    assert turns_without_face(turns) == [turns[1]]


def test_cells_name_the_speaker_or_why_there_is_none(turns):
    first, second = (turn_cells(turn, 30.0, lambda scene, number: f"Face {number}") for turn in turns)
    assert first[0] == "10.0 s to 13.5 s"
    assert first[1].startswith("Face 1 (")
    assert first[2:4] == ["neutral 80%", "happiness 70%"]
    assert second[1:6] == ["no visible face", UNDEFINED, "happiness 70%", UNDEFINED, UNDEFINED]
