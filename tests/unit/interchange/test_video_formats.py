"""Subtitles, ELAN documents and BORIS projects of label segments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pympi import Eaf

from mien.interchange.boris import to_boris
from mien.interchange.elan import to_eaf
from mien.interchange.subtitles import to_srt, to_vtt
from mien.video.io.sources import VideoInfo
from mien.video.label_segments import LabelSegment

LABELS = ("neutral", "happiness")


def video_info(duration_s=40.0, fps=29.97003):
    return VideoInfo(
        source="clip.mp4",
        size_hw=(240, 320),
        fps=fps,
        duration_s=duration_s,
        frames=None,
        has_audio=True,
        is_live=False,
    )


def segment(start_s, end_s, label="neutral", *, track=1, scene=1):
    return LabelSegment(scene=scene, track_id=track, label=label, start_s=start_s, end_s=end_s, confidence=0.75)


TWO_FACES = [segment(0.0, 1.0), segment(0.4, 2.0, "happiness", track=2), segment(1.0, 1.5, "happiness")]


def test_srt_has_a_cue_for_every_change():
    assert to_srt(TWO_FACES) == (
        "1\n00:00:00,000 --> 00:00:00,400\nface 1: neutral\n\n"
        "2\n00:00:00,400 --> 00:00:01,000\nface 1: neutral\nface 2: happiness\n\n"
        "3\n00:00:01,000 --> 00:00:01,500\nface 1: happiness\nface 2: happiness\n\n"
        "4\n00:00:01,500 --> 00:00:02,000\nface 2: happiness\n"
    )


def test_vtt_starts_with_its_signature_and_names_scenes():
    text = to_vtt([segment(3599.5, 3600.25), segment(3700, 3701, scene=2)])
    assert text == (
        "WEBVTT\n\n00:59:59.500 --> 01:00:00.250\nscene 1 face 1: neutral\n\n"
        "01:01:40.000 --> 01:01:41.000\nscene 2 face 1: neutral\n"
    )


def test_vtt_escapes_class_names():
    assert to_vtt([segment(0, 1, "<c>A & B-->")]).endswith("\nface 1: &lt;c&gt;A &amp; B--&gt;\n")


def test_subtitles_without_segments_have_no_cues():
    assert to_srt([]) == ""
    assert to_vtt([]) == "WEBVTT\n"


def test_segments_shorter_than_a_millisecond_have_no_cue():
    assert to_srt([segment(1.0, 1.0002), segment(1.0002, 2.0)]).count("-->") == 1


def test_elan_document_is_read_by_pympi(tmp_path):
    media = tmp_path / "a clip.mp4"
    (tmp_path / "a.eaf").write_text(to_eaf(TWO_FACES, media), encoding="utf-8")
    document = Eaf(tmp_path / "a.eaf")
    assert sorted(document.get_tier_names()) == ["face 1", "face 2"]
    spans = [annotation[:3] for annotation in sorted(document.get_annotation_data_for_tier("face 1"))]
    assert spans == [(0, 1000, "neutral"), (1000, 1500, "happiness")]
    assert document.get_linked_files()[0]["MEDIA_URL"] == media.resolve().as_uri()


def test_elan_annotations_have_a_length(tmp_path):
    (tmp_path / "a.eaf").write_text(to_eaf([segment(1.0, 1.0002)]), encoding="utf-8")
    ((start_ms, end_ms, *_),) = Eaf(tmp_path / "a.eaf").get_annotation_data_for_tier("face 1")
    assert (start_ms, end_ms) == (1000, 1001)


def test_elan_document_without_segments_has_no_tiers(tmp_path):
    (tmp_path / "a.eaf").write_text(to_eaf([]), encoding="utf-8")
    assert list(Eaf(tmp_path / "a.eaf").get_tier_names()) == []


@pytest.mark.parametrize("segments", [[], TWO_FACES])
def test_boris_events_start_and_stop_states(segments):
    project = json.loads(to_boris(segments, LABELS, Path("clip.mp4"), video_info()))
    observation = project["observations"]["clip"]
    codes = {behavior["code"] for behavior in project["behaviors_conf"].values()}
    subjects = {subject["name"] for subject in project["subjects_conf"].values()}
    running = {}
    for time_s, subject, code, _, _ in observation["events"]:
        assert code in codes
        assert subject in subjects
        if running.get(subject) == code:
            del running[subject]
        else:
            assert subject not in running, f"{subject} starts {code} before the state before it has ended"
            running[subject] = code
        assert 0 <= time_s <= 2
    assert running == {}
    assert len(observation["events"]) == 2 * len(segments)
    assert observation["file"]["1"] == [str(Path("clip.mp4").resolve())]


@pytest.mark.parametrize(
    ("info", "length_s", "fps"), [(video_info(), 40.0, 29.97), (video_info(duration_s=None, fps=None), 2.0, 0.0)]
)
def test_boris_media_properties_are_those_of_the_video(info, length_s, fps):
    path = str(Path("clip.mp4").resolve())
    project = json.loads(to_boris(TWO_FACES, LABELS, Path("clip.mp4"), info))
    media = project["observations"]["clip"]["media_info"]
    assert media["length"] == {path: length_s}
    assert media["fps"] == {path: fps}
    assert media["hasAudio"] == {path: True}
