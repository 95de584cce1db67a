from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mien.metrics import balanced_accuracy, expected_calibration_error, softmax
from mien.voice.discriminant import GroupedDiscriminant
from mien.voice.fitting import SpeakerFolds


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (N, 12), labels of three classes and speakers, with an offset for every speaker."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    speakers = rng.integers(0, 5, 300)
    centers, offsets = rng.standard_normal((3, 12)), 0.5 * rng.standard_normal((5, 12))
    return centers[labels] + offsets[speakers] + rng.standard_normal((300, 12)), labels, speakers


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_equals_scikit_learn(data, shrinkage):
    features, labels, speakers = data
    kept = speakers != 2
    x = (features - features[kept].mean(axis=0)) / features[kept].std(axis=0)
    counts = np.bincount(labels[kept])
    expected = LinearDiscriminantAnalysis(
        solver="lsqr", priors=np.full(3, 1 / 3), covariance_estimator=_Shrunk(shrinkage, counts)
    ).fit(x[kept], labels[kept])
    head = GroupedDiscriminant(features, labels, speakers).fit(shrinkage, (2,))
    logits = head.logits(features)
    theirs = expected.decision_function(x)
    assert np.allclose(logits - logits.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True))


class _Shrunk:
    """Covariance of scikit-learn's discriminant: called per class, whose results it weights by the priors."""

    def __init__(self, shrinkage: float, counts: np.ndarray) -> None:
        self.shrinkage, self.counts, self.calls = shrinkage, counts, 0

    def fit(self, x: np.ndarray) -> _Shrunk:
        share = 3 * len(x) / self.counts.sum()
        covariance = share * np.cov(x.T, bias=True)
        scale = np.trace(covariance) / len(covariance)
        self.covariance_ = (1 - self.shrinkage) * covariance + self.shrinkage * scale * np.eye(len(covariance))
        return self


def test_held_out_speakers_are_predicted_and_calibrated(data):
    features, labels, speakers = data
    folds = SpeakerFolds({"clean": features}, labels, [str(speaker) for speaker in speakers])
    noisy = features + np.random.default_rng(1).standard_normal(features.shape)
    logits = folds.evaluate({"recorded": features, "noisy": noisy})
    recalls = {name: balanced_accuracy(labels, values.argmax(axis=1), 3) for name, values in logits.items()}
    assert recalls["recorded"] > 0.8
    assert recalls["recorded"] > recalls["noisy"] > 0.5
    assert expected_calibration_error(softmax(logits["recorded"]), labels) < 0.08


def test_the_held_out_speaker_does_not_influence_the_choice(data):
    features, labels, speakers = data
    changed = features.copy()
    changed[speakers == 0] = 1e3
    names = [str(speaker) for speaker in speakers]
    choices = [SpeakerFolds({"clean": rows}, labels, names).choose(without="0") for rows in (features, changed)]
    assert choices[0].shrinkage == choices[1].shrinkage
    assert choices[0].recall == choices[1].recall
    assert choices[0].temperature == pytest.approx(choices[1].temperature, rel=1e-4)
