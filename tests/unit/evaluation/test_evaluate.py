"""Evaluation and comparison of models given by path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mien.datasets import read_folder
from mien.errors import DatasetError, UnknownModelError
from mien.evaluation.compare import compare
from mien.evaluation.evaluate import evaluate
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
