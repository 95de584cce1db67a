"""End-to-end tests of `mien video --voice`: who speaks, and sound that is absent, silent, broken or in an odd codec."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from mien import Analyzer, VoiceAnalyzer, analyze_video
from mien.recording import record
from mien.video.analysis import VideoAnalysis
from mien.video.mouths import MouthMeter
from mien.video.speaking import SoundTrack, join_turns, speaking_rows
from mien.video.table import RowFile, RowSchema, read_rows, write_table
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from support import clips
from support.shell import Shell, read_table
from support.sounds import RECORDINGS, noise
from support.talking import LEFT, OFF_SCREEN, RIGHT, in_turns, sound_of, talking_frames, write_talk
from support.video import audio_seconds, image_times

FPS = 10
SIZE_WH = 320, 240


@pytest.fixture(scope="module")
def speech():
    return [read_audio(RECORDINGS / name) for name in ("03a05Tc.flac", "03a01Wa.flac")]


@pytest.fixture(scope="module")
def talk(tmp_path_factory, speech):
    """Return a clip in which the left, the right and then nobody in view speaks, and its turns."""
    turns = in_turns([*speech, speech[0]], [LEFT, RIGHT, OFF_SCREEN])
    seconds = turns[-1].end_s + 0.5
    frames = talking_frames(turns, seconds, fps=FPS, size_wh=SIZE_WH, face=0.45)
    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    return write_talk(path, frames, sound_of(turns, seconds), fps=FPS), turns


@pytest.fixture(scope="module")
def sound(talk):
    voices = VoiceAnalyzer(threads=1)
    return SoundTrack(voice=voices.analyze(talk[0]), manifest=voices.manifest)


@pytest.fixture(scope="module")
def analyzer(tiny_model):
    return Analyzer(tiny_model, threads=1)


@pytest.fixture(scope="module")
def rows(talk, analyzer):
    """Return the rows of the clip, with mouths measured in all frames."""
    meter = MouthMeter(analyzer.mesh, [(0.0, 60.0)])
    frames = analyze_video(talk[0], analyzer=analyzer)
    return [row for frame in frames for row in speaking_rows(frame, meter)]


@pytest.fixture
def shell(tiny_model, capsys):
    return Shell("video", tiny_model, capsys, "--quiet")


def test_every_turn_belongs_to_the_face_that_speaks(rows, sound, analyzer):
    turns = join_turns(rows, sound, analyzer.manifest)
    assert [turn.status for turn in turns] == ["assigned", "assigned", "no_match"]
    left, right, other = turns
    middle = {row["track_id"]: (row["x1"] + row["x2"]) / 2 for row in rows}
    assert middle[left.track_id] < SIZE_WH[0] / 2 < middle[right.track_id]
    assert min(left.speaker_confidence, right.speaker_confidence) > 0.6
    for turn in (left, right):
        assert turn.fusion is not None
        assert turn.fusion.pooled.probabilities.sum() == pytest.approx(1)
        assert turn.fusion.face_weight > 0
        assert turn.fusion.voice_weight > 0
    assert (other.track_id, other.fusion) == (None, None)


@pytest.mark.parametrize("shift_s", [-2.0, 2.0])
def test_shifted_sound_belongs_to_nobody(rows, sound, analyzer, shift_s):
    shifted = replace(sound, voice=replace(sound.voice, offset_s=shift_s))
    assert {turn.status for turn in join_turns(rows, shifted, analyzer.manifest)} == {"no_match"}


def read_talk(clip, analyzer, folder, **options):
    with VideoAnalysis(clip, analyzer) as analysis:
        return record(analysis, analyzer.manifest, folder, **options)


@pytest.fixture(scope="module")
def written(talk, sound, analyzer, tmp_path_factory):
    """Return the folder with the files of the clip."""
    folder = tmp_path_factory.mktemp("written")
    read_talk(talk[0], analyzer, folder, sound=sound)
    return folder


def test_writes_turns_report_and_annotated_copy(written, talk):
    assert sorted(path.name for path in written.iterdir()) == [
        *("annotated.mp4", "faces.csv", "report.html", "segments.csv", "tracks.csv", "turns.csv")
    ]
    table = read_table(written / "turns.csv")
    assert [row["status"] for row in table] == ["assigned", "assigned", "no_match"]
    assert float(table[0]["p_neutral"]) != float(table[0]["face_p_neutral"])
    assert (table[2]["track_id"], table[2]["label"], table[2]["conflict"]) == ("", "", "")
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "3 speaking turns" in page
    assert "Voice without a face" in page
    assert image_times(written / "annotated.mp4") == pytest.approx(image_times(talk[0]))
    assert audio_seconds(written / "annotated.mp4") > 9


def test_voice_does_not_change_the_faces(written, rows, analyzer, tmp_path):
    with RowFile(tmp_path / "rows.jsonl", RowSchema.of(analyzer)) as file:
        file.add(rows)
    write_table(read_rows(tmp_path / "rows.jsonl"), tmp_path / "faces.csv", RowSchema.of(analyzer))
    assert (written / "faces.csv").read_bytes() == (tmp_path / "faces.csv").read_bytes()


def test_resumed_run_has_the_same_turns(written, talk, sound, analyzer, tmp_path):
    def stop(frame, counts):
        if frame.index == 50:
            raise KeyboardInterrupt

    options = {"sound": sound, "annotate": False, "report": False}
    assert read_talk(talk[0], analyzer, tmp_path, on_frame=stop, **options).was_stopped
    assert len(read_table(tmp_path / "turns.csv")) < 3
    assert not read_talk(talk[0], analyzer, tmp_path, resume=True, **options).was_stopped
    assert (tmp_path / "turns.csv").read_bytes() == (written / "turns.csv").read_bytes()


def silent(path, codec="aac"):
    frames = talking_frames([], 0.8, fps=FPS, size_wh=SIZE_WH, face=0.45)
    return write_talk(path, frames, None if codec is None else np.zeros(12800, dtype=np.float32), fps=FPS, codec=codec)


def broken(path):
    """Write a clip with a face and the packets of its sound overwritten."""
    write_talk(path, talking_frames([], 0.8, fps=FPS, size_wh=SIZE_WH, face=0.45), noise(0.8), fps=FPS)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in packets:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: silent(path, None), "is a video without sound"),
        (silent, ""),
        (broken, "none of its sound (aac) can be decoded"),
    ],
    ids=["no sound", "silence", "broken sound"],
)
def test_without_speech_the_faces_are_the_same(shell, tmp_path, make, message):
    clip = make(tmp_path / "clip.mp4")
    assert shell(clip, "--table", tmp_path / "plain.csv") == 0
    plain = shell.out
    assert shell(clip, "--voice", "--table", tmp_path / "voice.csv") == 0
    assert shell.out == plain
    assert (tmp_path / "voice.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    assert len(read_table(tmp_path / "voice.csv")) > 10
    assert shell.err.count("\n") == bool(message)
    assert message in shell.err


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "pcm_u8"), ("a.mkv", "flac"), ("a.mov", "pcm_alaw"), ("a.avi", "mp2"), ("a.mp4", "mp3")],
)
def test_finds_speech_in_any_codec(tmp_path, shell, speech, name, codec):
    samples = np.concatenate([np.zeros(SAMPLE_RATE_HZ, dtype=np.float32), speech[1]])
    frames = [clips.numbered(index) for index in range(30)]
    clip = write_talk(tmp_path / name, iter(frames), samples, fps=FPS, codec=codec)
    assert shell(clip, "--voice", "--json") == 0
    (turn,) = [record for record in shell.records if "status" in record]
    assert (turn["status"], turn["track_id"], turn["fusion"]) == ("no_match", None, None)
    assert turn["start_s"] == pytest.approx(1.0, abs=0.2)
    assert turn["end_s"] == pytest.approx(2.9, abs=0.2)


def test_late_sound_is_placed_on_the_clock_of_the_video(tmp_path):
    clip = clips.write_clip(tmp_path / "late.mkv", sound="aac", sound_starts_s=0.7, sound_lasts_s=1.0)
    assert VoiceAnalyzer(threads=1).analyze(clip).offset_s == pytest.approx(0.7, abs=0.05)


def test_images_have_no_sound(shell, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(clips.numbered(0)).save(folder / "0.png")
    assert shell(folder, "--voice") == 2
    assert "--voice needs a video file" in shell.err
