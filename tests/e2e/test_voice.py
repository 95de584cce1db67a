from __future__ import annotations

import csv
import json
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from mien.cli.main import main
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from support.clips import write_clip
from support.permissions import deny
from support.sounds import RECORDINGS, music, noise, write_audio


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Return a file with an angry utterance between two seconds of silence."""
    pause = np.zeros(2 * SAMPLE_RATE_HZ, dtype=np.float32)
    samples = np.concatenate([pause, read_audio(RECORDINGS / "03a01Wa.flac"), pause])
    return write_audio(tmp_path_factory.mktemp("voice") / "talk.mp3", samples, codec="mp3", rate_hz=44100, channels=2)


def test_prints_a_table_of_segments(talk, capsys):
    assert main(["voice", str(talk)]) == 0
    shown = capsys.readouterr()
    assert "1 speech segment" in shown.out
    assert "class (experimental)" in shown.out
    row = next(line.split() for line in shown.out.splitlines() if "anger" in line)
    assert float(row[1]) == pytest.approx(2.0, abs=0.3)
    assert float(row[5]) > 0.5
    assert shown.err == ""


def test_writes_picture_and_table(tmp_path, talk, capsys):
    picture, table = tmp_path / "new/voice.png", tmp_path / "voice.csv"
    assert main(["voice", str(talk), "-o", str(picture), "--table", str(table)]) == 0
    assert f"mien: wrote {picture}" in capsys.readouterr().err
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 20
    with table.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["label"] == "anger"
    assert float(row["arousal"]) > 0.5
    assert float(row["p_anger"]) > 0.5
    assert 100 < float(row["pitch_hz"]) < 400


@pytest.mark.parametrize(
    "samples",
    [np.zeros(32000, dtype=np.float32), noise(2.0), music(4.0), np.clip(20 * music(4.0), -1, 1)],
    ids=["silence", "noise", "music", "clipped music"],
)
def test_sound_without_speech_is_not_an_error(tmp_path, samples, capsys):
    path = write_audio(tmp_path / "a.wav", samples)
    assert main(["voice", str(path), "-o", str(tmp_path / "a.png")]) == 0
    assert "no speech" in capsys.readouterr().out
    assert (tmp_path / "a.png").is_file()


def test_prints_json_and_continues_after_a_broken_file(tmp_path, talk, capsys):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    assert main(["voice", str(broken), str(talk), "--json"]) == 1
    shown = capsys.readouterr()
    first, second = map(json.loads, shown.out.splitlines())
    assert first["error"]["code"] == "audio_unreadable"
    assert second["segments"][0]["label"] == "anger"
    assert "broken.wav is not a readable audio or video file" in shown.err
    assert "2 files, 1 could not be read" in shown.err


def test_searches_folders_and_continues_after_broken_files(tmp_path, talk, capsys):
    folder = tmp_path / "calls/monday"
    folder.mkdir(parents=True)
    for name in ("b.wav", ".hidden.wav", "notes.txt"):
        (folder / name).write_bytes(b"RIFF nothing")
    write_audio(folder / "A.WAV", noise(0.5))
    write_clip(folder / "c.mp4", times_s=[0.0, 0.1])
    (tmp_path / "empty").mkdir()
    sources = [str(tmp_path / "calls"), str(tmp_path / "empty"), str(tmp_path / "*.ogg"), str(talk)]
    assert main(["voice", *sources, "--json"]) == 1
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    names = [str(folder / name) for name in ("A.WAV", "b.wav", "c.mp4")]
    assert [row["audio"] for row in rows] == [*names, *sources[1:]]
    assert [row["error"] is None for row in rows] == [True, False, False, False, False, True]
    assert f"no audio found in {sources[1]}" in shown.err
    assert f"no audio files match {sources[2]}" in shown.err
    assert "c.mp4 is a video without sound" in shown.err
    assert "6 files, 4 could not be read" in shown.err


def test_continues_after_a_file_without_permission(tmp_path, talk, monkeypatch, capsys):
    deny(monkeypatch, tmp_path / "locked")
    assert main(["voice", str(tmp_path / "locked/a.wav"), str(tmp_path / "locked/*.wav"), str(talk), "--json"]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert f"mien: {tmp_path / 'locked/a.wav'}: permission denied.\n" in shown.err
    assert "3 files, 2 could not be read" in shown.err


def test_address_is_shown_without_its_password(capsys):
    assert main(["voice", "https://user:secret@host/a.wav?part=1", "--json"]) == 2
    shown = capsys.readouterr()
    assert json.loads(shown.out)["audio"] == "https://host/a.wav?part=1"
    assert "secret" not in shown.out + shown.err
    assert "addresses are not fetched" in shown.err


def test_pattern_selects_sounds(tmp_path, capsys):
    write_audio(tmp_path / "a.wav", noise(0.5))
    (tmp_path / "a.txt").write_text("not a sound")
    assert main(["voice", str(tmp_path / "a.*")]) == 0
    assert "a.wav" in capsys.readouterr().out
    assert main(["voice", str(tmp_path / "missing.wav")]) == 2
    assert "missing.wav" in capsys.readouterr().err


def test_video_without_sound_is_one_line(tmp_path, capsys):
    path = write_clip(tmp_path / "a.mp4", times_s=[0.0, 0.1])
    assert main(["voice", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"mien: {path} is a video without sound; expected an audio file, or a video with sound.\n"


def test_image_is_called_an_image(examples, capsys):
    assert main(["voice", str(examples / "obama.jpg")]) == 2
    assert "obama.jpg is an image; expected an audio file" in capsys.readouterr().err


def test_reads_the_sound_of_a_video(tmp_path, capsys):
    path = write_clip(tmp_path / "a.mp4", sound="aac")
    assert main(["voice", str(path)]) == 0
    assert "3.0 s, no speech" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no file given"),
        (["a.wav", "-o", "a.jpg"], "must end in .png"),
        (["a.wav", "b.wav", "-o", "a.png"], "--output takes one file"),
        (["a.wav", "--table", "a.txt"], "unknown table format"),
        (["a.wav", "--model", "nothing"], "unknown model 'nothing'"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, capsys):
    assert main(["voice", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1


@pytest.fixture
def stop(monkeypatch):
    """Send a signal when the file of a name is opened."""

    def stop_at(name, number=signal.SIGINT):
        original = VoiceAnalyzer.analyze

        def analyze(analyzer, source, **options):
            if str(source).endswith(name):
                os.kill(os.getpid(), number)
            return original(analyzer, source, **options)

        monkeypatch.setattr(VoiceAnalyzer, "analyze", analyze)

    return stop_at


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_segments_of_the_files_before(tmp_path, talk, stop, capsys, number, code):
    table = tmp_path / "t.csv"
    stop("second.wav", number)
    second = write_audio(tmp_path / "second.wav", noise(2.0))
    assert main(["voice", str(talk), str(second), "--table", str(table)]) == code
    shown = capsys.readouterr()
    assert "1 speech segment" in shown.out
    assert shown.err == f"mien: stopped after 1 of 2 files; {table} has their segments\n"
    assert len(table.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach a process differently on Windows")
def test_a_signal_in_the_first_file_keeps_an_existing_table(tmp_path, talk, stop, capsys):
    table = tmp_path / "t.csv"
    table.write_text("an earlier table\n", encoding="utf-8")
    stop("talk.mp3")
    assert main(["voice", str(tmp_path / "missing.wav"), str(talk), "--table", str(table), "--quiet"]) == 130
    assert capsys.readouterr().err.endswith(
        "mien: stopped after 1 of 2 files; nothing was written; give the command again\n"
    )
    assert table.read_text(encoding="utf-8") == "an earlier table\n"
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("folder.png", "is a directory"), ("file.txt/a.png", "file exists"), ("a" * 300 + ".png", "long")],
)
def test_plot_that_cannot_be_written_is_reported_before_the_analysis(tmp_path, name, problem, capsys):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.txt").touch()
    assert main(["voice", str(tmp_path / "missing.wav"), "-o", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mien: {tmp_path / name}: cannot be written: ")
    assert problem in err
    assert err.count("\n") == 1


def test_a_narrow_terminal_leaves_columns_out(talk, monkeypatch, capsys):
    monkeypatch.setattr("mien.cli.console.PIPE_WIDTH", 60)
    assert main(["voice", str(talk)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert max(map(len, lines)) <= 60
    assert any("Left out at 60 columns: pitch" in line for line in lines)


def test_help_says_what_a_voice_cannot_show(capsys):
    assert main(["voice", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not what the speaker feels" in shown
    assert "experimental" in shown


def test_models_lists_the_voice_model(capsys):
    assert main(["models", "voice"]) == 0
    shown = capsys.readouterr().out
    assert "emodb/leave-one-speaker-out, classes" in shown
    assert "BSD-2-Clause" in shown


def test_the_card_states_the_numbers_of_the_manifest(root):
    from mien.manifest import read_manifest

    card = (root / "docs/models/voice.md").read_text(encoding="utf-8")
    metrics = read_manifest(root / "src/mien/assets/voice.onnx").metrics
    assert len(metrics) == 8
    for protocols in metrics.values():
        for scores in protocols.values():
            assert f"{100 * scores['balanced_accuracy']:.1f} %" in card
            assert f"{scores['ece']:.3f}" in card
    recorded = metrics["emodb/leave-one-speaker-out"]
    assert recorded["classes"]["balanced_accuracy"] >= 0.84
    assert recorded["classes"]["ece"] <= 0.06
    assert recorded["arousal"]["balanced_accuracy"] >= 0.95
