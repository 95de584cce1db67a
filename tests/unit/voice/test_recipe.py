"""Recipe of the voice model, with a stub for the encoder."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from mien.manifest import read_manifest
from mien.voice.corpora import read_ravdess
from support.sounds import tone, write_audio

pytest.importorskip("onnx")


class Encoder:
    """Embeddings (1, 8) from the log mel spectrogram."""

    def run(self, _, inputs):
        return [inputs["log_mel"][:, :8].mean(axis=2)]


@pytest.fixture
def recipe(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "recipes")
    module = importlib.import_module("emodb_voice")
    monkeypatch.setattr(module, "VARIANTS", ("clean",))
    monkeypatch.setattr(module, "open_session", lambda *_: Encoder())
    return module


def write_ravdess(folder):
    """Write neutral, happy and angry utterances of three actors."""
    for actor in range(1, 4):
        for number, label in enumerate(("01", "03", "05")):
            samples = tone(0.5, 200.0 + 300 * number + 20 * actor)
            folder.mkdir(parents=True, exist_ok=True)
            write_audio(folder / f"03-01-{label}-01-01-01-{actor:02}.wav", samples)
    return folder


def test_unreadable_utterances_are_skipped_and_reported(recipe, tmp_path, capsys):
    folder = write_ravdess(tmp_path / "data")
    (folder / "03-01-03-01-01-01-02.wav").write_bytes(b"broken")
    utterances = read_ravdess(folder)
    readable, embeddings = recipe.load_embeddings(utterances, b"", tmp_path / "cache.npz")
    assert "skipped 1 unreadable utterances (03-01-03-01-01-01-02: " in capsys.readouterr().out
    assert [each.name for each in readable] == [each.name for each in utterances if "-03-01-01-01-02" not in each.name]
    assert len(embeddings["clean"]) == len(readable) == 8


def test_cache_of_other_utterances_is_rebuilt(recipe, tmp_path, monkeypatch):
    utterances = read_ravdess(write_ravdess(tmp_path / "data"))
    cache = tmp_path / "cache.npz"
    _, whole = recipe.load_embeddings(utterances, b"", cache)
    some, embeddings = recipe.load_embeddings(utterances[2:], b"", cache)
    assert some == utterances[2:]
    assert np.array_equal(embeddings["clean"], whole["clean"][2:])
    monkeypatch.setattr(recipe, "embed_variants", lambda *_: pytest.fail("was computed again"))
    again, _ = recipe.load_embeddings(utterances[2:], b"", cache)
    assert again == some


def test_license_names_a_restricted_corpus(recipe, tmp_path, monkeypatch):
    for name, result in (("add_encoder", "features"), ("make_graph", b""), ("build_model", b"model")):
        monkeypatch.setattr(recipe, name, lambda *_, result=result: result)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "voice.onnx"
    arguments = [str(write_ravdess(tmp_path / "data")), "encoder.onnx", "--corpus", "ravdess", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["emodb_voice.py", *arguments])
    recipe.main()
    license_name = read_manifest(output).license
    assert license_name.startswith("MIT for the heads, ")
    assert "; restricted by its training data: RAVDESS" in license_name
    assert license_name.endswith("(CC BY-NC-SA 4.0)")
