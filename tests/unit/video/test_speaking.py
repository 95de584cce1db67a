"""Speaking turns from rows and speech."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.fusion import face_weight, voice_weight
from mien.video.speaking import MOUTH, SoundTrack, join_turns
from mien.video.table import NOSE, RowFile, RowSchema, read_rows, write_table
from mien.video.turns import write_turns
from support.mouths import (
    VOICE_LABELS,
    face_manifest,
    mouth_of,
    mouth_rows,
    sound_track,
    still_mouth,
    syllables,
    voice_segment,
)
from support.shell import read_table
from support.video_rows import LABELS

SPEECH = syllables(0)
SEGMENT = voice_segment(10.0, 13.5)
ROWS = mouth_rows(still_mouth(), mouth_of(SPEECH))


def join(rows=ROWS, segment=SEGMENT, **options):
    (turn,) = join_turns(rows, sound_track(SPEECH, segment, **options), face_manifest())
    return turn


def test_joins_face_and_voice_of_the_speaker():
    turn = join()
    assert (turn.status, turn.scene, turn.track_id) == ("assigned", 1, 2)
    assert turn.fusion is not None
    np.testing.assert_allclose(turn.fusion.face.probabilities, [0.8, 0.1, 0.1])
    np.testing.assert_array_equal(turn.voice.probabilities, [0.2, 0.7, 0.1])
    pooled = turn.fusion.pooled
    assert pooled.probabilities.sum() == pytest.approx(1)
    assert 0.1 < pooled["happiness"] < 0.7
    assert 0.2 < pooled["neutral"] < 0.8
    assert turn.fusion.face_weight > turn.fusion.voice_weight
    assert turn.fusion.voice_weight == pytest.approx(voice_weight(3.5, share=0.9))
    assert turn.fusion.conflict == pytest.approx(0.36, abs=0.15)


def test_agreement_has_a_low_conflict():
    agreeing = join(segment=voice_segment(10.0, 13.5, (0.85, 0.1, 0.05)))
    assert agreeing.fusion is not None
    assert agreeing.fusion.conflict < 0.02
    assert agreeing.fusion.pooled.label == "neutral"


def test_contradiction_has_no_label():
    contradicting = join(segment=voice_segment(10.0, 13.5, (0.01, 0.98, 0.01)))
    assert contradicting.fusion is not None
    assert contradicting.fusion.conflict > 0.5
    assert contradicting.fusion.pooled.label is None
    assert contradicting.fusion.face.label == "neutral"


def test_bored_voice_does_not_change_the_face():
    turn = join(segment=voice_segment(10.0, 13.5, (0.0, 0.0, 1.0)))
    assert turn.fusion is not None
    assert (turn.fusion.voice_weight, turn.fusion.conflict) == (0, None)
    np.testing.assert_allclose(turn.fusion.pooled.probabilities, turn.fusion.face.probabilities)


def test_nearly_bored_voice_keeps_the_label_of_the_face():
    # what remains without boredom is noise that contradicts the face
    turn = join(segment=voice_segment(10.0, 13.5, (1e-7, 3e-4, 0.9996999)))
    assert turn.fusion is not None
    assert turn.fusion.voice_weight < 2e-4
    assert turn.fusion.conflict == pytest.approx(0, abs=1e-3)
    assert turn.fusion.pooled.label == turn.fusion.face.label == "neutral"


@pytest.mark.parametrize(
    ("frontalities", "expected"), [((None, None), None), ((0.8, None), 0.8), ((0.8, 0.4), 0.6), ((0.0, None), 0.1)]
)
def test_face_weight_is_that_of_the_known_frontalities(frontalities, expected):
    rows = [row | {"frontality": frontalities[number // 2 % 2]} for number, row in enumerate(ROWS)]
    turn = join(rows=rows)
    assert turn.fusion is not None
    count = sum(10.0 <= row["timestamp_s"] < 13.5 for row in rows) // 2
    assert turn.fusion.face_weight == pytest.approx(face_weight(count, frontality=expected), rel=0.03)


def test_voice_without_a_face_has_no_fusion():
    turn = join(rows=mouth_rows(still_mouth()))
    assert (turn.status, turn.track_id, turn.fusion) == ("no_match", None, None)
    assert join(rows=[]).status == "no_match"


def test_sound_that_starts_later_is_shifted():
    turn = join_turns(ROWS, sound_track(SPEECH[40:], voice_segment(8.0, 11.5), offset_s=2.0), face_manifest())[0]
    assert (turn.start_s, turn.end_s, turn.track_id) == (10.0, 13.5, 2)


def test_no_segments_are_no_turns():
    assert join_turns(ROWS, sound_track(SPEECH), face_manifest()) == ()


def test_face_model_with_other_classes_has_no_conflict():
    renamed = {f"p_{name}": f"p_other_{name}" for name in LABELS}
    rows = [{renamed.get(name, name): value for name, value in row.items()} for row in mouth_rows(mouth_of(SPEECH))]
    manifest = replace(face_manifest(), labels=tuple(f"other_{name}" for name in LABELS))
    (turn,) = join_turns(rows, sound_track(SPEECH, SEGMENT), manifest)
    assert turn.fusion is not None
    assert turn.fusion.conflict is None
    np.testing.assert_allclose(turn.fusion.pooled.probabilities, turn.fusion.face.probabilities)


def test_table_has_both_modalities(tmp_path):
    without = replace(join(), status="no_match", scene=None, track_id=None, fusion=None)
    write_turns(tmp_path / "turns.csv", [join(), without], LABELS, VOICE_LABELS)
    first, second = read_table(tmp_path / "turns.csv")
    assert (first["track_id"], second["track_id"]) == ("2", "")
    assert (first["voice_label"], second["voice_label"]) == ("happiness", "happiness")
    assert float(first["face_p_neutral"]) == pytest.approx(0.8)
    assert float(first["voice_p_boredom"]) == float(second["voice_p_boredom"]) == 0.1
    assert (second["p_neutral"], second["face_p_neutral"], second["conflict"]) == ("", "", "")


def test_extra_columns_stay_out_of_the_table(tmp_path):
    with RowFile(tmp_path / "rows.jsonl", RowSchema(labels=LABELS), extra=(MOUTH, *NOSE)) as file:
        file.add(ROWS[:2])
    assert [row["mouth_opening"] for row in read_rows(tmp_path / "rows.jsonl")] == [
        row["mouth_opening"] for row in ROWS[:2]
    ]
    write_table(read_rows(tmp_path / "rows.jsonl"), tmp_path / "faces.csv", RowSchema(labels=LABELS))
    assert not {MOUTH, *NOSE} & {*read_table(tmp_path / "faces.csv")[0]}


def test_spans_are_in_time_of_the_video():
    assert isinstance(sound_track(SPEECH), SoundTrack)
    assert sound_track(SPEECH, SEGMENT, offset_s=-0.5).spans_s == [(9.5, 13.0)]
