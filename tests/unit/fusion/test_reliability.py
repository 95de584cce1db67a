from __future__ import annotations

import numpy as np
import pytest

from mien.emotions import EXPRESSIONS
from mien.fusion import face_weight, log_linear_pool, to_face_classes, voice_weight
from mien.manifest import read_manifest
from mien.runtime import find_model


def test_boredom_lowers_the_weight_and_contempt_is_not_known():
    labels = ["neutral", "happiness", "boredom"]
    values, share = to_face_classes(labels, np.array([0.1, 0.3, 0.6]))
    assert share == pytest.approx(0.4)
    assert values[0] == pytest.approx(0.25)
    assert values[1] == pytest.approx(0.75)
    assert np.isnan(values[2:]).all()
    assert voice_weight(2.0, share=share) == pytest.approx(0.4 * voice_weight(2.0))


def test_calm_counts_as_neutral_unless_faces_have_it():
    values, share = to_face_classes(["neutral", "calm", "anger"], np.array([0.2, 0.3, 0.5]), ["anger", "neutral"])
    assert (values.tolist(), share) == ([0.5, 0.5], 1.0)
    values, _ = to_face_classes(["calm", "anger"], np.array([0.3, 0.7]), ["anger", "neutral", "calm"])
    assert values[2] == 0.3


def test_voice_that_is_only_bored_leaves_the_face_as_it_is():
    voice, share = to_face_classes(["neutral", "boredom"], np.array([0.0, 1.0]))
    face = np.full(8, 1 / 8)
    weights = np.array([face_weight(10), voice_weight(3.0, share=share)])
    assert (log_linear_pool(np.stack([face, voice]), weights) == face).all()


def test_every_class_of_the_shipped_voice_model_but_boredom_is_a_class_of_faces():
    labels = read_manifest(find_model("voice")).labels
    assert set(labels) - set(EXPRESSIONS) == {"boredom"}


def test_nothing_has_no_weight_and_more_has_more():
    assert face_weight(0) == 0
    assert voice_weight(0.0) == 0
    assert 0 < face_weight(1) < face_weight(10) < 1
    assert 0 < voice_weight(0.5) < voice_weight(3.0) < face_weight(10)


def test_every_defect_lowers_the_weight():
    assert face_weight(5, frontality=0.5) == pytest.approx(0.5 * face_weight(5))
    assert face_weight(5, visible=0.5) == pytest.approx(0.5 * face_weight(5))
    assert voice_weight(2.0, clipped=0.1) == pytest.approx(0.9 * voice_weight(2.0))


def test_weight_of_short_speech_follows_the_measured_recall():
    metrics = read_manifest(find_model("voice")).metrics
    recall = {
        name: metrics[f"emodb/leave-one-speaker-out{name}"]["classes"]["balanced_accuracy"] - 1 / 7
        for name in ("", " (middle 2 s)", " (middle 1 s)")
    }
    for seconds in (1.0, 2.0):
        measured = recall[f" (middle {seconds:.0f} s)"] / recall[""]
        assert voice_weight(seconds) / voice_weight(2.8) == pytest.approx(measured, abs=0.08)
