from __future__ import annotations

import json

import numpy as np
import pytest

from mien.cli.main import main
from mien.voice.audio import read_audio
from mien.voice.augmentation import augment
from support.sounds import RECORDINGS, write_audio


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return a folder in the layout of EmoDB: an angry and a sad utterance of four speakers."""
    folder = tmp_path_factory.mktemp("emodb") / "wav"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for speaker, variant in enumerate(("clean", "slow", "fast", "part")):
        for name in ("a01Wa", "a05Tc"):
            samples = augment(read_audio(RECORDINGS / f"03{name}.flac"), variant, rng)
            write_audio(folder / f"{speaker:02d}{name}.wav", samples)
    return folder.parent


def run(*arguments: str) -> int:
    return main(["evaluate", "--dataset", "emodb", *arguments])


def test_prints_recall_arousal_classes_and_confusions(corpus, capsys):
    assert run("--data", str(corpus)) == 0
    shown = capsys.readouterr()
    assert "voice 1, emodb, all, 4 speakers, the model as it is" in shown.out
    assert "class \\ predicted" in shown.out
    rows = {line.split()[0]: line.split() for line in shown.out.splitlines() if line.strip()}
    assert rows["arousal"][1] == "8"
    assert sum(map(int, rows["sadness"][1:])) == 4
    assert "voice has learned from emodb: these numbers are too high" in shown.err


def test_json_has_the_interval_over_speakers(corpus, capsys):
    assert run("--data", str(corpus), "--model", "voice", "--json", "--quiet") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["n"], summary["speakers"], summary["dataset"]) == (8, 4, "emodb")
    assert summary["per_class"]["anger"]["n"] == 4
    low, high = summary["balanced_accuracy_interval"]
    assert low <= summary["balanced_accuracy"] <= high
    assert summary["balanced_accuracy"] > 0.7
    assert summary["arousal"]["balanced_accuracy"] > 0.7


def test_speaker_independent_refits_the_heads(corpus, monkeypatch, capsys):
    monkeypatch.setattr("mien.voice.fitting.SHRINKAGES", (0.5,))
    assert run("--data", str(corpus), "--speaker-independent", "--json") == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    assert summary["classes"] == ["sadness", "anger"]
    assert summary["speaker_independent"]
    assert summary["balanced_accuracy"] > 0.7
    assert "too high" not in shown.err


def test_broken_sounds_are_counted_with_exit_code_1(corpus, tmp_path, capsys):
    for path in sorted((corpus / "wav").iterdir())[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "09a01Fa.wav").write_bytes(b"RIFF nothing")
    assert run("--data", str(tmp_path), "--json", "--quiet") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["unreadable"] == ["09a01Fa"]
    assert "1 missing or broken sound counts as an error: 09a01Fa" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "--split test: the corpus has no splits"),
        (["--flip-tta"], "--flip-tta: no effect on speech corpora"),
        (["-o", "report"], "--output: no effect on speech corpora"),
        (["--no-groups", "--workers", "7"], "--no-groups, --workers: no effect on speech corpora"),
        (["--device", "cuda", "--precision", "int8"], "--device, --precision: no effect on speech corpora"),
        (["--model", "mobile"], "expected one for voice-expression"),
    ],
)
def test_wrong_usage_is_one_line(corpus, arguments, message, capsys):
    assert run("--data", str(corpus), *arguments) == 2
    assert message in capsys.readouterr().err


def test_speaker_independence_is_for_voices(tmp_path, capsys):
    assert main(["evaluate", "--dataset", "folder", "--data", str(tmp_path), "--speaker-independent"]) == 2
    assert "--speaker-independent is for speech corpora" in capsys.readouterr().err


def test_splits_of_meld_have_to_be_selected(tmp_path, capsys):
    header = "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\n"
    for split, folder in (("train", "train_splits"), ("test", "output_repeated_splits_test")):
        (tmp_path / f"{split}_sent_emo.csv").write_text(f"{header}No.,Joey,anger,0,0\n")
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dia0_utt0.mp4").write_bytes(b"broken")
    assert main(["evaluate", "--dataset", "meld", "--data", str(tmp_path)]) == 2
    assert "--split is missing: the corpus has train, test" in capsys.readouterr().err
    assert main(["evaluate", "--dataset", "meld", "--data", str(tmp_path), "--split", "test", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["unreadable"] == ["test_dia0_utt0"]
