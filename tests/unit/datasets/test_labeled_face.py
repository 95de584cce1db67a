"""Choice of the labeled face in a photograph: no face, the largest face, and the face at annotated landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from mien.datasets.face_patches import MARGIN
from mien.datasets.face_store import prepare_faces
from mien.datasets.index import Index, Sample
from mien.evaluation.predictions import predict_dataset
from mien.faces import FaceDetector
from mien.faces.alignment import align_face
from mien.inference.classifier import ExpressionClassifier

CORNER = np.array([[9.0, 8.0], [15.0, 8.0], [12.0, 11.0], [10.0, 14.0], [14.0, 14.0]])
"""Landmarks of a small face in a corner of the image without a face."""


@pytest.fixture(scope="module")
def classifier(tiny_model):
    return ExpressionClassifier(tiny_model, threads=1)


def make_index(examples, landmarks_xy):
    points = None if landmarks_xy is None else tuple(tuple(map(float, point)) for point in landmarks_xy)
    sample = Sample(id="group.jpg", split="test", label=0, label_distribution=None, landmarks_xy=points)
    return Index(name="made", root=examples, labels=("neutral",), samples=(sample,), license="CC0", is_cropped=False)


def test_landmarks_without_a_detected_face_are_a_missed_face(classifier, examples):
    predictions = predict_dataset(classifier, make_index(examples, CORNER))
    assert (predictions.is_found.tolist(), np.isnan(predictions.logits).all()) == ([False], True)


@pytest.mark.parametrize("number", [None, 0, 1, 4])
def test_training_and_evaluation_crop_the_same_face(classifier, examples, group, tmp_path, number):
    """Both align by detected landmarks, not by annotated ones."""
    faces = FaceDetector(threads=1).detect(group)
    index = make_index(examples, None if number is None else faces[number].landmarks_xy + 1.5)
    labeled = faces[number or 0]
    np.testing.assert_array_equal(predict_dataset(classifier, index).crop(0), classifier.crop(group, labeled))
    store = prepare_faces(index, tmp_path / "store", patch=64, workers=1)
    expected = align_face(group, labeled.landmarks_xy, size=2 * 64, margin=MARGIN)
    np.testing.assert_array_equal(store.patches[0], expected)


def test_training_uses_annotated_landmarks_without_a_detected_face(examples, group, tmp_path):
    store = prepare_faces(make_index(examples, CORNER), tmp_path / "store", patch=64, workers=1)
    assert store.is_found.all()
    np.testing.assert_array_equal(store.patches[0], align_face(group, CORNER, size=2 * 64, margin=MARGIN))


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), CORNER + 1e7, CORNER - 100, CORNER * [1e6, 1] - [1.2e7, 0], CORNER * np.nan]
)
def test_implausible_landmarks_count_as_missing(examples, group, tmp_path, points):
    [largest, *_] = FaceDetector(threads=1).detect(group)
    store = prepare_faces(make_index(examples, points), tmp_path / "store", patch=64, workers=1)
    expected = align_face(group, largest.landmarks_xy, size=2 * 64, margin=MARGIN)
    np.testing.assert_array_equal(store.patches[0], expected)
