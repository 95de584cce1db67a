"""Which face of a photograph is measured: none first, then the largest, and the one that the data set points at."""

from __future__ import annotations

import numpy as np
import pytest

from mien.datasets.index import Index, Sample
from mien.evaluation.evaluate import read_faces
from mien.faces import FaceDetector
from mien.inference.classifier import ExpressionClassifier


@pytest.fixture(scope="module")
def classifier(tiny_model):
    return ExpressionClassifier(tiny_model, threads=1)


def read(classifier, examples, landmarks_xy):
    points = None if landmarks_xy is None else tuple(tuple(map(float, point)) for point in landmarks_xy)
    sample = Sample(id="group.jpg", split="test", label=0, label_distribution=None, landmarks_xy=points)
    index = Index(
        name="made", root=examples, labels=("neutral",), samples=(sample,), licence="CC0", is_cropped=False
    )
    return read_faces(classifier, index)


def test_landmarks_where_no_face_is_found_are_a_missed_face(classifier, examples):
    readings = read(classifier, examples, np.full((5, 2), 2.0))
    assert (readings.is_found.tolist(), np.isnan(readings.logits).all()) == ([False], True)


@pytest.mark.parametrize("number", [None, 0, 1, 4])
def test_the_face_that_is_meant_is_read(classifier, examples, group, number):
    faces = FaceDetector(threads=1).detect(group)
    landmarks = None if number is None else faces[number].landmarks_xy + 1.5
    readings = read(classifier, examples, landmarks)
    np.testing.assert_array_equal(readings.crops[0], classifier.crop(group, faces[number or 0]))
