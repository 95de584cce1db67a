"""Evaluation and comparison of models given by path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.datasets import read_folder
from mien.datasets.index import Sample
from mien.errors import DatasetError, UnknownModelError
from mien.evaluation.compare import compare
from mien.evaluation.evaluate import MAX_MISTAKES, evaluate, evaluate_predictions
from mien.evaluation.predictions import DatasetPredictions, predict_dataset
from mien.inference.classifier import ExpressionClassifier
from support.datasets import write_image


@pytest.fixture
def index(tmp_path):
    for name in ("happy/a.png", "happy/b.png", "sad/c.png"):
        write_image(tmp_path / "faces" / name)
    return read_folder(tmp_path / "faces")


def test_model_path_and_classifier_give_the_same_summary(tiny_model, index):
    calls = []
    by_path = evaluate(tiny_model, index, progress=lambda done, total: calls.append((done, total)))
    assert by_path.summary == evaluate(ExpressionClassifier(tiny_model), index).summary
    assert by_path.summary["n"] == by_path.summary["missed_faces"] == 3
    assert calls == [(0, 3), (3, 3)]


def test_model_does_not_differ_from_itself(tiny_model, index):
    calls = []
    comparison = compare(tiny_model, str(tiny_model), index, progress=lambda done, total: calls.append((done, total)))
    assert (comparison.summary["n"], comparison.summary["difference"]) == (3, 0.0)
    assert comparison.only_first == comparison.only_second == ()
    assert calls == [(0, 6), (3, 6), (3, 6), (6, 6)]


def test_rejects_unknown_model_and_unlabeled_images(tiny_model, index):
    with pytest.raises(UnknownModelError):
        evaluate("none", index)
    with pytest.raises(DatasetError, match="no image with a label"):
        compare(tiny_model, tiny_model, replace(index, samples=()))


@pytest.fixture
def asked(monkeypatch):
    """Whether each prediction of a data set averages mirrored crops."""
    calls = []

    def spy(*arguments, flip_tta=False, **options):
        calls.append(flip_tta)
        return predict_dataset(*arguments, flip_tta=flip_tta, **options)

    monkeypatch.setattr("mien.evaluation.evaluate.predict_dataset", spy)
    monkeypatch.setattr("mien.evaluation.compare.predict_dataset", spy)
    return calls


def test_mirrored_crops_are_averaged_on_request(tiny_model, index, asked):
    evaluate(tiny_model, index)
    evaluate(tiny_model, index, flip_tta=True)
    compare(tiny_model, tiny_model, index, flip_tta=True)
    assert asked == [False, True, True, True]


def test_flip_tta_returns_the_mean_logits_of_both_crops(tiny_model, index):
    classifier = ExpressionClassifier(tiny_model)
    predictions = predict_dataset(classifier, index, flip_tta=True)
    crops = np.stack([predictions.crop(row) for row in range(3)])
    expected = (classifier.logits(crops) + classifier.logits(crops[:, :, ::-1])) / 2
    np.testing.assert_allclose(predictions.logits, expected, atol=1e-5)
    assert not np.allclose(expected, classifier.logits(crops), atol=1e-3)


def test_most_confident_mistakes_come_first(tiny_model, index):
    manifest = ExpressionClassifier(tiny_model).manifest
    wrong = manifest.labels.index("sadness")
    [happy] = [sample for sample in index.samples if sample.id.endswith("a.png")]
    many = replace(index, samples=tuple(replace(happy, id=f"{row}.png") for row in range(MAX_MISTAKES + 3)))
    logits = np.zeros((len(many.samples), len(manifest.labels)), dtype=np.float32)
    logits[:, wrong] = 1 + np.arange(len(logits)) % 7
    yes = np.ones(len(logits), dtype=bool)
    predictions = DatasetPredictions(
        index=many, crop=lambda row: np.full((2, 2, 3), row, np.uint8), logits=logits, is_found=yes, is_readable=yes
    )
    evaluation = evaluate_predictions(manifest, predictions)
    confidences = [mistake.confidence for mistake in evaluation.mistakes]
    assert len(confidences) == MAX_MISTAKES
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] > confidences[-1]


def test_unreadable_images_without_a_majority_are_not_counted(tiny_model, index):
    manifest = ExpressionClassifier(tiny_model).manifest
    votes = ((6.0, 0, 4, 0, 0, 0, 0, 0, 0, 0), (5.0, 0, 5, 0, 0, 0, 0, 0, 0, 0), (4.0, 3, 3, 0, 0, 0, 0, 0, 0, 0))
    samples = tuple(Sample(id=f"{row}.png", split="valid", votes=row_votes) for row, row_votes in enumerate(votes))
    no = np.zeros(3, dtype=bool)
    predictions = DatasetPredictions(
        index=replace(index, samples=samples, labels=manifest.labels),
        crop=lambda row: np.zeros((2, 2, 3), np.uint8),
        logits=np.full((3, len(manifest.labels)), np.nan, dtype=np.float32),
        is_found=no,
        is_readable=no,
    )
    summary = evaluate_predictions(manifest, predictions).summary
    assert (summary["n"], summary["unreadable_faces"], summary["unreadable"]) == (1, 1, ["0.png"])
    assert summary["protocols"]["argmax"]["n"] > 1
