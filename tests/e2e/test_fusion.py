from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest

from mien.adaptation.utterances import UtteranceReader
from mien.fusion.model import FusionModel
from mien.inference.classifier import ExpressionClassifier
from mien.voice.analyzer import VoiceAnalyzer
from mien.voice.corpora import read_ravdess
from support.audiovisual import write_exclusive_or
from support.clips import write_clip
from support.images import EXAMPLES, portrait
from support.sounds import noise, write_audio


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(EXAMPLES.parent / "recipes/fusion.py"))["main"]


@pytest.fixture(scope="module")
def reader():
    classifier = ExpressionClassifier(threads=1, precision="float32")
    return UtteranceReader(classifier, VoiceAnalyzer(threads=1))


@pytest.mark.slow
def test_recipe_fits_a_data_set_in_the_layout_of_ravdess(tmp_path, recipe, reader, monkeypatch, capsys):
    write_exclusive_or(tmp_path / "ravdess", speakers=5)
    output = tmp_path / "mine.onnx"
    monkeypatch.setattr(sys, "argv", ["fusion.py", str(tmp_path / "ravdess"), "-o", str(output)])
    recipe()
    assert "40 utterances" in capsys.readouterr().out
    model = FusionModel(output, face=reader.classifier.manifest, voice=reader.analyzer.manifest)
    write_exclusive_or(tmp_path / "test", speakers=2, per_speaker=4)
    measured, skipped = reader.read(read_ravdess(tmp_path / "test"))
    assert (len(measured), skipped) == (8, {})
    predictions = [model.fuse(utterance.face, utterance.voice).argmax() for utterance in measured]
    assert np.mean(np.array(predictions) == [utterance.label for utterance in measured]) > 0.8
    for utterance in measured:
        assert (model.fuse(utterance.face, None) == utterance.face.probabilities).all()


def test_recipe_refuses_an_output_before_it_measures(tmp_path, recipe, monkeypatch, capsys):
    (tmp_path / "study.json").write_text("{}")
    arguments = [str(tmp_path / "missing"), "-o", str(tmp_path / "study.onnx")]
    monkeypatch.setattr(sys, "argv", ["fusion.py", *arguments])
    with pytest.raises(SystemExit):
        recipe()
    assert "study.json is not a manifest" in capsys.readouterr().err


def test_utterances_that_cannot_be_used_have_a_reason(tmp_path, reader):
    folder = tmp_path / "Actor_01"
    folder.mkdir()
    silence = np.zeros(16000, dtype=np.float32)
    write_clip(folder / "02-01-03-01-01-01-01.mp4", "mpeg4", images=[portrait("obama")[:400, 200:600]], times_s=[0.0],
               size_hw=(400, 400))  # fmt: skip
    write_audio(folder / "03-01-03-01-01-01-01.wav", silence)
    write_clip(folder / "02-01-04-01-01-01-01.mp4", "mpeg4", times_s=[0.0])
    write_audio(folder / "03-01-04-01-01-01-01.wav", noise(1.0))
    write_audio(folder / "03-01-05-01-01-01-01.wav", silence)
    (folder / "02-01-06-01-01-01-01.mp4").write_bytes(b"broken")
    write_audio(folder / "03-01-06-01-01-01-01.wav", silence)
    measured, skipped = reader.read(read_ravdess(tmp_path))
    assert measured == []
    reasons = {name.split("-")[2]: reason for name, reason in skipped.items()}
    assert reasons["03"] == "no speech"
    assert reasons["04"] == "no face"
    assert reasons["05"] == "no video of its own"
    assert "not" in reasons["06"]
