"""Corrections of logits: their fit, and their choice by cross-validation over groups."""

import math

import numpy as np
import pytest

from mien.adaptation.correction import FaceFeatures, Setting, fit_correction, principal_components
from mien.adaptation.selection import FOLDS, assign_folds, choose_correction, scores
from mien.errors import DatasetError

CLASSES = 4


def make_faces(count=200, *, width=12):
    """Faces of three of four classes, whose features, but not logits, tell the classes apart."""
    rng = np.random.default_rng(0)
    centers = 0.5 * rng.normal(size=(CLASSES, width))
    labels = rng.integers(3, size=count)
    embeddings = centers[labels] + rng.normal(size=(count, width)) * 0.4
    logits = rng.normal(size=(count, CLASSES)) + 0.5 * np.eye(CLASSES)[labels]
    features = principal_components(embeddings).project(embeddings)
    return FaceFeatures(logits=logits, features=features, labels=labels, groups=np.arange(count) // 2)


def test_principal_components_keep_distances_up_to_a_factor():
    embeddings = np.random.default_rng(0).normal(size=(30, 5))
    features = principal_components(embeddings).project(embeddings)
    assert (features**2).sum(axis=1).mean() == pytest.approx(1)
    ratio = np.linalg.norm(features[0] - features[1]) / np.linalg.norm(embeddings[0] - embeddings[1])
    assert np.linalg.norm(features[2] - features[3]) == pytest.approx(
        ratio * np.linalg.norm(embeddings[2] - embeddings[3])
    )


def test_a_strong_penalty_changes_nothing_but_scale_and_biases():
    faces = make_faces()
    correction = fit_correction(faces, Setting(penalty=math.inf, balance=0))
    assert not correction.weight.any()
    assert correction.scale != 1


def test_classes_without_a_face_keep_their_weights():
    correction = fit_correction(make_faces(), Setting(penalty=1e-3, balance=1))
    assert correction.bias[3] == 0
    assert not correction.weight[3].any()
    assert correction.weight[:3].any()


def test_the_fit_is_a_minimum_of_the_loss():
    faces = make_faces(60, width=3)
    setting = Setting(penalty=1e-2, balance=0)
    best = fit_correction(faces, setting)

    def loss(weight):
        logits = best.scale * faces.logits + faces.features @ weight.T + best.bias
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log_probabilities[np.arange(60), faces.labels].mean() + setting.penalty * (weight**2).sum()

    rng = np.random.default_rng(1)
    for _ in range(10):
        change = 0.05 * rng.normal(size=best.weight.shape) * (np.arange(CLASSES) < 3)[:, None]
        assert loss(best.weight) <= loss(best.weight + change)


def test_a_correction_on_embeddings_equals_the_one_on_features():
    rng = np.random.default_rng(2)
    embeddings = rng.normal(3, 2, size=(40, 6))
    basis = principal_components(embeddings)
    faces = FaceFeatures(
        logits=rng.normal(size=(40, CLASSES)),
        features=basis.project(embeddings),
        labels=rng.integers(CLASSES, size=40),
        groups=np.arange(40),
    )
    correction = fit_correction(faces, Setting(penalty=1e-3, balance=0.5))
    folded = correction.on_embeddings(basis)
    expected = correction.apply(faces)
    np.testing.assert_allclose(folded.scale * faces.logits + embeddings @ folded.weight.T + folded.bias, expected)


def test_no_group_is_in_two_folds():
    groups = np.random.default_rng(0).integers(30, size=200)
    folds = assign_folds(groups, seed=0)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in np.unique(groups))
    assert np.bincount(folds).min() > 0.5 * 200 / FOLDS


def test_informative_features_are_used():
    faces = make_faces(600)
    seen, unseen = faces.select(np.arange(200)), faces.select(np.arange(200, 600))
    choice = choose_correction(seen)
    assert choice.correction is not None
    assert choice.gain > choice.standard_error
    before, after = (scores(logits, unseen.labels) for logits in (unseen.logits, choice.correction.apply(unseen)))
    assert np.mean(after) > 0.1 + np.mean(before)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_cannot_be_improved_is_unchanged(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=120)
    logits = 3 * np.eye(CLASSES)[labels] + rng.normal(size=(120, CLASSES))
    faces = FaceFeatures(logits=logits, features=rng.normal(size=(120, 8)), labels=labels, groups=np.arange(120))
    choice = choose_correction(faces)
    assert choice.correction is None
    assert choice.logits is faces.logits


@pytest.mark.parametrize(("count", "groups"), [(10, 10), (40, 3)])
def test_too_few_faces_or_groups_are_refused(count, groups):
    faces = make_faces(count)
    few = FaceFeatures(
        logits=faces.logits, features=faces.features, labels=faces.labels, groups=np.arange(count) % groups
    )
    with pytest.raises(DatasetError, match="too few to adapt to"):
        choose_correction(few)
