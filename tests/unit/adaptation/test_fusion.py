from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.adaptation.correction import FaceFeatures
from mien.adaptation.fusion import FusionFit, choose_voice_trust, combine, fit_fusion
from mien.adaptation.fusion_file import check_fusion_path, write_fusion
from mien.adaptation.selection import choose_correction
from mien.adaptation.utterances import AudiovisualUtterance
from mien.errors import DatasetError, InputError, ModelError
from mien.fusion.model import Evidence, FusionModel, pool_logits
from mien.manifest import Manifest, TrainingSource, read_manifest
from mien.metrics import softmax
from mien.runtime import find_model
from support.models import break_networks

CLASSES = 8
UNKNOWN = [2, 7]
"""Surprise and contempt, which the shipped voice model lacks."""


def exclusive_or(count: int, seed: int = 0) -> list[AudiovisualUtterance]:
    """Return utterances of classes 1 and 3: the exclusive or of one direction in each embedding."""
    rng = np.random.default_rng(seed)
    utterances = []
    for number in range(count):
        face, voice = number % 2, number // 2 % 2
        utterances.append(
            AudiovisualUtterance(
                face=evidence(rng, 24, face), voice=evidence(rng, 40, voice, lacks=UNKNOWN),
                label=1 if face != voice else 3, speaker=f"speaker {number // 4 % 10}",
            )
        )  # fmt: skip
    return utterances


def evidence(rng: np.random.Generator, width: int, is_high: int, lacks: list[int] | None = None) -> Evidence:
    probabilities = rng.dirichlet(np.ones(CLASSES))
    if lacks:
        probabilities[lacks] = np.nan
        probabilities /= np.nansum(probabilities)
    embedding = rng.normal(0, 0.5, width)
    embedding[0] += 3 * is_high
    return Evidence(probabilities=probabilities, weight=rng.uniform(0.3, 0.9), embedding=embedding)


@pytest.fixture(scope="module")
def utterances() -> list[AudiovisualUtterance]:
    return exclusive_or(120)


@pytest.fixture(scope="module")
def fit(utterances) -> FusionFit:
    return fit_fusion(utterances)


@pytest.fixture(scope="module")
def manifests() -> tuple[Manifest, Manifest]:
    return read_manifest(find_model("expression")), read_manifest(find_model("voice"))


@pytest.fixture(scope="module")
def model(fit, manifests, tmp_path_factory) -> FusionModel:
    path = tmp_path_factory.mktemp("fusion") / "fusion.onnx"
    write_fusion(fit, *manifests, TrainingSource(name="generated", license="CC0"), path)
    face, voice = manifests
    return FusionModel(path, face=face, voice=voice)


def test_learns_what_only_both_show(fit, model):
    assert fit.numbers["fusion"]["accuracy"] > 0.9
    others = exclusive_or(80, seed=1)
    predictions = [model.fuse(utterance.face, utterance.voice).argmax() for utterance in others]
    assert np.mean(np.array(predictions) == [utterance.label for utterance in others]) > 0.9


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_one_modality_by_itself_stays_at_chance(utterances, fit, modality):
    basis = fit.face_basis if modality == "face" else fit.voice_basis
    parts = [getattr(utterance, modality) for utterance in utterances]
    rows = basis.project(np.stack([part.embedding for part in parts]))
    choice = choose_correction(
        FaceFeatures(
            logits=np.zeros((len(rows), CLASSES)),
            features=combine(rows, rows),
            labels=np.array([utterance.label for utterance in utterances]),
            groups=np.arange(len(rows)) // 4 % 10,
        )
    )
    labels = [utterance.label for utterance in utterances]
    assert np.mean(choice.logits.argmax(axis=1) == labels) < 0.62


def test_missing_modality_returns_the_other_exactly(model, utterances):
    face, voice = utterances[0].face, utterances[0].voice
    assert (model.fuse(face, None) == face.probabilities).all()
    assert (model.fuse(face, replace(voice, weight=0.0)) == face.probabilities).all()
    assert (model.fuse(None, voice) == np.nan_to_num(voice.probabilities)).all()
    assert (model.fuse(replace(face, weight=0.0), voice) == np.nan_to_num(voice.probabilities)).all()
    with pytest.raises(InputError, match="neither a face nor a voice"):
        model.fuse(None, None)


def test_file_computes_the_fitted_head(model, fit, utterances):
    assert fit.correction is not None
    for utterance in utterances[:8]:
        features = combine(
            fit.face_basis.project(utterance.face.embedding[None]),
            fit.voice_basis.project(utterance.voice.embedding[None]),
        )
        pooled = pool_logits(utterance.face, utterance.voice, fit.voice_trust)
        logits = fit.correction.scale * pooled + features @ fit.correction.weight.T + fit.correction.bias
        expected = softmax(logits, round(fit.temperature, 4))[0]
        assert np.allclose(model.fuse(utterance.face, utterance.voice), expected, atol=1e-5)


def test_manifest_states_both_models_and_the_data(model):
    names = [source.name for source in model.manifest.trained_on]
    assert names[-1] == "generated, fusion"
    assert any("EmoDB" in name for name in names)
    assert any("FER+" in name for name in names)


def test_manifest_states_which_part_is_cross_validated(model):
    ((key, numbers),) = model.manifest.metrics.items()
    assert key == "cross-validated head; trust, components and temperature in sample"
    assert set(numbers) == {"face", "voice", "pool", "fusion"}


def test_refuses_other_models_than_it_was_fitted_to(model, manifests):
    face, voice = manifests
    with pytest.raises(ModelError, match="was fitted to voice, version 1, not to voice, version 2"):
        FusionModel(model.path, face=face, voice=replace(voice, version="2"))
    with pytest.raises(ModelError, match="expected one for fusion"):
        FusionModel("voice", face=face, voice=voice)


def test_names_an_embedding_of_another_width(model, utterances):
    face, voice = utterances[0].face, utterances[0].voice
    with pytest.raises(ModelError, match=rf"^{model.path}: .*invalid dimensions for input: voice"):
        model.fuse(face, replace(voice, embedding=voice.embedding[:-1]))


def test_failure_without_a_message_names_the_model(model, manifests, utterances, monkeypatch):
    break_networks(monkeypatch, "mien.fusion.model", "")
    failing = FusionModel(model.path, face=manifests[0], voice=manifests[1])
    with pytest.raises(ModelError, match=rf"^{model.path}: RuntimeError$"):
        failing.fuse(utterances[0].face, utterances[0].voice)


def test_embeddings_that_say_nothing_leave_the_pool(manifests, tmp_path):
    rng = np.random.default_rng(3)
    utterances = []
    for number in range(100):
        label = number % 4
        face, voice = evidence(rng, 24, 0), evidence(rng, 40, 0)
        probabilities = softmax(2.0 * np.eye(CLASSES)[label][None] + rng.normal(0, 1, (2, CLASSES)))
        utterances.append(
            AudiovisualUtterance(
                face=replace(face, probabilities=probabilities[0], weight=0.5),
                voice=replace(voice, probabilities=probabilities[1], weight=0.5),
                label=label,
                speaker=f"speaker {number // 10}",
            )
        )
    fit = fit_fusion(utterances)
    assert fit.voice_trust > 0
    assert fit.numbers["pool"]["accuracy"] > fit.numbers["face"]["accuracy"]
    assert fit.numbers["fusion"]["accuracy"] >= fit.numbers["pool"]["accuracy"]
    face, voice = manifests
    write_fusion(replace(fit, correction=None), face, voice, TrainingSource(), tmp_path / "pool.onnx")
    model = FusionModel(tmp_path / "pool.onnx", face=face, voice=voice)
    first = utterances[0]
    expected = softmax(pool_logits(first.face, first.voice, fit.voice_trust)[None], round(fit.temperature, 4))[0]
    assert np.allclose(model.fuse(first.face, first.voice), expected, atol=1e-6)


def test_voice_that_says_nothing_gets_no_trust(utterances):
    labels = np.array([utterance.label for utterance in utterances])
    sure = [
        replace(utterance, face=replace(utterance.face, probabilities=0.9 * np.eye(8)[utterance.label] + 0.1 / 8))
        for utterance in utterances
    ]
    assert choose_voice_trust(sure, labels) == 0.0


def test_too_few_utterances_are_refused(utterances):
    with pytest.raises(DatasetError, match="no utterance with a face"):
        fit_fusion([])
    with pytest.raises(DatasetError, match="too few"):
        fit_fusion(utterances[:8])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fusion", "must end in .onnx"),
        ("a.int8.onnx", "int8"),
        ("study.onnx", r"study\.json is not a manifest"),
        ("folder.onnx", "is a folder"),
    ],
)
def test_refuses_outputs_that_lose_a_file_or_cannot_be_opened(fit, manifests, tmp_path, name, message):
    (tmp_path / "study.json").write_text('{"participants": 40}')
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=message):
        write_fusion(fit, *manifests, TrainingSource(), tmp_path / name)
    assert (tmp_path / "study.json").read_text() == '{"participants": 40}'
    assert {path.name for path in tmp_path.iterdir()} == {"study.json", "folder.onnx"}
    check_fusion_path(tmp_path / "other.onnx")
