"""Uncertain detections without a face mesh are marked and get no label."""

from __future__ import annotations

import pytest

from mien import Analyzer, explain, to_pandas
from mien.faces.attributes import DOUBTFUL_CONFIDENCE
from mien.schema import flatten_result
from support.images import PORTRAITS, bust, painted_disk, scaled_to_face


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(threads=1)


def test_doubtful_face_keeps_its_probabilities_but_no_label(analyzer):
    for result in (analyzer.analyze(painted_disk()), *analyzer.analyze_many([painted_disk()])):
        (face,) = result
        assert face.confidence < DOUBTFUL_CONFIDENCE
        assert face.is_face_doubtful
        assert face.head_pose is None
        assert face.expression.label is None
        assert face.expression.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_doubt_is_in_every_output(analyzer):
    result = analyzer.analyze(painted_disk())
    assert result.to_dict()["faces"][0]["is_face_doubtful"] is True
    (row,) = flatten_result(result.to_record())
    assert (row["is_face_doubtful"], row["label"]) == (True, None)
    assert to_pandas([result])["is_face_doubtful"].tolist() == [True]
    (explained,) = explain(painted_disk(), analyzer=analyzer)
    assert explained.face.is_face_doubtful
    assert explained.face.expression.label is None


@pytest.mark.parametrize("name", PORTRAITS)
def test_clear_and_small_faces_are_not_doubtful(analyzer, name):
    for image in (bust(name), scaled_to_face(name, 32)):
        (face,) = analyzer.analyze(image)
        assert not face.is_face_doubtful


def test_faces_of_the_group_are_not_doubtful(analyzer, group):
    assert not any(face.is_face_doubtful for face in analyzer.analyze(group))


def test_without_the_mesh_no_face_is_doubtful(analyzer):
    (face,) = analyzer.analyze(painted_disk(), pose=False)
    assert not face.is_face_doubtful
