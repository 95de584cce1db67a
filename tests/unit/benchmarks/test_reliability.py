"""The benchmark of accuracy and calibration by pose, size, blur and brightness."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mien import metrics

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
from reliability import area_under_risk_coverage


def test_area_under_risk_coverage_of_four_rows():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    curve = metrics.risk_coverage(probabilities, np.array([0, 1, 1, 0]))  # correct, wrong, correct, correct
    assert area_under_risk_coverage(curve) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_area_under_risk_coverage_is_the_mean_risk_over_thresholds():
    rng = np.random.default_rng(0)
    probabilities = metrics.softmax(rng.normal(size=(50, 3)).round(1))  # some confidences are equal
    labels = rng.integers(0, 3, 50)
    confidence, is_wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    risks = [is_wrong[confidence >= threshold].mean() for threshold in confidence]
    curve = metrics.risk_coverage(probabilities, labels)
    assert area_under_risk_coverage(curve) == pytest.approx(np.mean(risks))


def test_area_under_risk_coverage_of_no_faces_is_nan():
    curve = metrics.risk_coverage(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert np.isnan(area_under_risk_coverage(curve))
