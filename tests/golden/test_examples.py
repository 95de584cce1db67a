"""Golden results of the default model on the example images.

`tests/golden/examples.jsonl` is the output of `mien predict examples/ --json`; inspect the images before updating it.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien import Analyzer
from mien.datasets import read_dataset
from mien.evaluation.evaluate import evaluate
from mien.inference.classifier import ExpressionClassifier

RECORDS = [json.loads(line) for line in (Path(__file__).parent / "examples.jsonl").read_text().splitlines()]
FERPLUS = Path(__file__).parents[3] / "shared/data/ferplus.zip"

PERCEIVED = {
    "astronaut.jpg": {"happiness"},
    "biden.jpg": {"neutral"},
    "group.jpg": {"happiness", "neutral"},
    "obama.jpg": {"happiness"},
}
"""Expressions that a person perceives in each image."""


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["image"])
def test_results_match_the_golden_file(analyzer, root, record):
    faces = [face.to_dict() for face in analyzer.analyze(root / record["image"])]
    assert len(faces) == len(record["faces"])
    for face, expected in zip(faces, record["faces"], strict=True):
        np.testing.assert_allclose(face["bbox_xyxy"], expected["bbox_xyxy"], atol=1.0)
        np.testing.assert_allclose(face["landmarks_xy"], expected["landmarks_xy"], atol=1.0)
        for angle, degrees in expected["head_pose_deg"].items():
            assert face["head_pose_deg"][angle] == pytest.approx(degrees, abs=1.0)
        assert face["is_face_doubtful"] == expected["is_face_doubtful"]
        assert face["expression"]["label"] == expected["expression"]["label"]
        for name, probability in expected["expression"]["probabilities"].items():
            assert face["expression"]["probabilities"][name] == pytest.approx(probability, abs=0.03)


def test_labels_match_human_perception():
    labels = {
        Path(record["image"]).name: {face["expression"]["label"] for face in record["faces"]} for record in RECORDS
    }
    assert labels == PERCEIVED


@pytest.mark.skipif(not FERPLUS.is_file(), reason="needs the FER+ archive")
def test_accuracy_on_400_validation_faces_matches_the_manifest():
    index = read_dataset("ferplus", FERPLUS).select("valid")
    samples = tuple(sample for sample in index.samples if sample.label is not None)[:400]
    classifier = ExpressionClassifier()
    expected_accuracy = classifier.manifest.metrics["ferplus/valid"]["majority"]["accuracy"]
    summary = evaluate(classifier, replace(index, samples=samples)).summary
    low, high = summary["accuracy_interval"]
    assert low < expected_accuracy < high
    assert summary["ece"] < 0.06
