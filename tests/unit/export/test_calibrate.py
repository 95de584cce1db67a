"""Fits of temperature, class shares and abstention threshold, also where the validation faces do not determine them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import metrics
from mien.datasets import Index, Sample
from mien.emotions import EXPRESSIONS
from mien.evaluation.predictions import DatasetPredictions
from mien.export.calibrate import calibrate, describe_validation, fit_temperature, fit_threshold
from mien.manifest import read_manifest, write_manifest
from support.models import make_model

LABELS = np.tile([0, 1, 2], 4)
ONE_HOT = np.eye(3)[LABELS]


def test_perfect_predictions_keep_the_temperature_at_one():
    notes = []
    assert fit_temperature(3 * ONE_HOT, LABELS, notes) == 1.0
    assert notes[0].startswith("all 12 validation faces are classified correctly, so no temperature can be fitted")


@pytest.mark.parametrize("labels", [(LABELS + 1) % 3, np.random.default_rng(0).permutation(LABELS)])
def test_guesses_are_reported(labels):
    notes = []
    accuracy = (labels == LABELS).mean()
    assert fit_temperature(30 * ONE_HOT, labels, notes) == 20.0
    assert f"the model only guesses (accuracy {accuracy:.0%})" in notes[0]


def test_temperature_within_its_limits_is_not_reported():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(500, 3))
    labels = np.array([rng.choice(3, p=row) for row in metrics.softmax(logits)])
    notes = []
    assert fit_temperature(3 * logits, labels, notes) == pytest.approx(3, rel=0.2)
    assert notes == []


@pytest.mark.parametrize(("faces", "abstain", "is_fitted"), [(49, 0.02, False), (50, 0.02, True), (5, 0.0, False)])
def test_threshold_needs_at_least_one_abstaining_face(faces, abstain, is_fitted):
    notes = []
    threshold = fit_threshold(np.linspace(0.4, 0.9, faces), abstain, notes)
    assert (threshold > 0) == is_fitted
    assert len(notes) == (abstain > 0 and not is_fitted)
    if notes:
        assert "calibrate on 50 faces or more" in notes[0]


def test_threshold_never_rejects_more_than_its_share():
    """Rounded up, a threshold of 0.9998 becomes 1: the model would never give a label."""
    confidence = np.full(100, 0.99991)
    notes = []
    assert fit_threshold(confidence, 0.02, notes) == 0.999
    assert notes == ["the least confident validation faces are equally confident: no face abstains"]
    confidence[:2] = 0.5
    assert (confidence < fit_threshold(confidence, 0.03, [])).mean() <= 0.03


@pytest.mark.parametrize(
    ("split", "labels", "starts"),
    [
        ("valid", np.tile([0, 1, 2], 40), []),
        ("train", np.tile([0, 1, 2], 40), ["calibrated on training faces"]),
        ("all", np.tile([0, 1, 2], 40), ["data has no splits"]),
        ("valid", np.tile([0, 2], 50), ["no validation face shows happiness"]),
        ("test", LABELS, ["only 12 validation faces"]),
    ],
)
def test_describes_what_validation_faces_cannot_tell(split, labels, starts):
    names = ("neutral", "happiness", "surprise")
    index = Index(name="x", root=Path("data"), labels=names, samples=(), license="CC0", is_cropped=True, split=split)
    notes = describe_validation(names, index, labels)
    assert len(notes) == len(starts)
    assert all(note.startswith(start) for note, start in zip(notes, starts, strict=True))


@pytest.mark.parametrize(("source", "expected"), [({}, [0.6, 0.3, 0.1]), ({"balance": 1.0}, [1 / 3, 1 / 3, 1 / 3])])
def test_class_prior_is_that_of_the_training(tmp_path, monkeypatch, source, expected):
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    samples = tuple(Sample(id=f"{row}.png", split="valid", label=label) for row, label in enumerate(labels.tolist()))
    index = Index(
        name="x", root=tmp_path, labels=EXPRESSIONS, samples=samples, license="CC0", is_cropped=True, split="valid"
    )
    is_true = np.ones(len(labels), dtype=bool)
    predictions = DatasetPredictions(
        index=index,
        crop=lambda _: np.zeros((48, 48, 3), np.uint8),
        logits=np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32),
        is_found=is_true,
        is_readable=is_true,
    )
    monkeypatch.setattr("mien.export.calibrate.predict_dataset", lambda *_, **__: predictions)
    monkeypatch.setattr("mien.export.calibrate.measure_quality_temperature", lambda *_, **__: None)
    model = make_model(tmp_path / "tiny.onnx")
    write_manifest(replace(read_manifest(model), source=source), model)
    manifest = calibrate(model, index).manifest
    assert list(manifest.class_prior.values()) == pytest.approx([*expected, *[0] * 5], abs=1e-5)
