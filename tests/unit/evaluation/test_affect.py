"""Concordance correlation and RMSE of valence and arousal, trained and derived."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.index import Index, Sample
from mien.emotions import EXPRESSIONS, VALENCE_AROUSAL
from mien.evaluation.affect import concordance_correlation, root_mean_squared_error, summarize_affect
from mien.evaluation.predictions import DatasetPredictions
from mien.manifest import AlignmentSpec, InputSpec, Manifest
from mien.metrics import softmax

VALUES = np.array([-0.8, -0.1, 0.3, 0.9])
MANIFEST = Manifest(
    name="tiny",
    version="1",
    task="expression",
    input=InputSpec(size=48),
    sha256="",
    license="MIT",
    labels=EXPRESSIONS,
    alignment=AlignmentSpec(template="ferplus", margin=0.0),
)


def predictions(annotations, trained=None, logits=None):
    """Predictions for one image per annotation."""
    samples = tuple(
        Sample(id=str(number), split="test", valence_arousal=values) for number, values in enumerate(annotations)
    )
    count = len(samples)
    return DatasetPredictions(
        index=Index(name="x", root=Path("x"), labels=EXPRESSIONS, samples=samples, license="", is_cropped=True),
        crop=lambda _: np.zeros((1, 1, 3), np.uint8),
        logits=np.zeros((count, 8), np.float32) if logits is None else logits,
        is_found=np.ones(count, bool),
        is_readable=np.ones(count, bool),
        valence_arousal=trained,
    )


def test_concordance_is_one_only_for_equal_values():
    assert concordance_correlation(VALUES, VALUES) == pytest.approx(1)
    assert concordance_correlation(VALUES, -VALUES) < -0.9
    assert concordance_correlation(VALUES, np.roll(VALUES, 2)) < 0


def test_concordance_falls_with_another_mean_or_scale_unlike_correlation():
    assert np.corrcoef(VALUES, VALUES + 0.5)[0, 1] == pytest.approx(1)
    assert concordance_correlation(VALUES, VALUES + 0.5) == pytest.approx(
        2 * VALUES.var() / (2 * VALUES.var() + 0.5**2)
    )
    assert concordance_correlation(VALUES, VALUES / 2) == pytest.approx(
        VALUES.var() / (1.25 * VALUES.var() + (VALUES.mean() / 2) ** 2)
    )


def test_without_variance_or_values_the_scores_are_undefined():
    assert np.isnan(concordance_correlation(VALUES[:1], VALUES[:1]))
    assert np.isnan(concordance_correlation(np.ones(3), np.ones(3)))
    assert concordance_correlation(VALUES, np.ones(4)) == 0
    assert concordance_correlation(np.ones(3), np.zeros(3)) == 0
    assert np.isnan(root_mean_squared_error(np.empty(0), np.empty(0)))
    assert root_mean_squared_error([0, 0], [3, -4]) == pytest.approx(12.5**0.5)


def test_images_without_values_and_faces_without_prediction_are_left_out():
    annotations = [(0.5, 0.1), None, (-0.5, 0.3), (0.9, 0.9)]
    trained = np.array([[0.5, 0.1], [0.0, 0.0], [-0.5, 0.3], [np.nan, np.nan]], dtype=np.float32)
    summary = summarize_affect(MANIFEST, predictions(annotations, trained))
    assert summary == {
        "source": "trained",
        "n": 2,
        "valence": {"ccc": pytest.approx(1), "rmse": pytest.approx(0, abs=1e-6)},
        "arousal": {"ccc": pytest.approx(1), "rmse": pytest.approx(0, abs=1e-6)},
    }
    assert summarize_affect(MANIFEST, predictions([None, None])) is None


def test_a_model_without_a_head_is_compared_by_its_probabilities():
    logits = 100 * np.eye(8, dtype=np.float32)
    annotations = [VALENCE_AROUSAL[name] for name in EXPRESSIONS]
    summary = summarize_affect(MANIFEST, predictions(annotations, logits=logits))
    assert summary is not None
    assert summary["source"] == "derived"
    assert summary["valence"]["rmse"] == pytest.approx(0, abs=1e-6)
    other = replace(MANIFEST, labels=("happiness", "boredom"))
    assert summarize_affect(other, predictions(annotations, logits=logits[:, :2])) is None


def test_derived_values_are_means_over_calibrated_probabilities():
    logits = np.random.default_rng(0).normal(0, 3, (5, 8)).astype(np.float32)
    coordinates = np.array([VALENCE_AROUSAL[name] for name in EXPRESSIONS])
    expected = softmax(logits, 4.0) @ coordinates
    annotations = [tuple(row) for row in expected]
    summary = summarize_affect(replace(MANIFEST, temperature=4.0), predictions(annotations, logits=logits))
    assert summary is not None
    assert [summary[name]["rmse"] for name in ("valence", "arousal")] == pytest.approx([0, 0], abs=1e-6)
    other = summarize_affect(MANIFEST, predictions(annotations, logits=logits))
    assert other is not None
    assert min(other[name]["rmse"] for name in ("valence", "arousal")) > 0.05
