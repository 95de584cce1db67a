"""The shipped model on the shipped images.

`tests/golden/examples.jsonl` is the output of `mien predict examples/ --json`; look at the images before renewing it.
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

SEEN = {
    "astronaut.jpg": {"happiness"},
    "biden.jpg": {"neutral"},
    "group.jpg": {"happiness", "neutral"},
    "obama.jpg": {"happiness"},
}
"""What a person sees in each image."""


@pytest.fixture(scope="module")
def analyzer():
    return Analyzer()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["image"])
def test_gives_what_it_gave(analyzer, root, record):
    faces = [face.to_dict() for face in analyzer.analyze(root / record["image"])]
    assert len(faces) == len(record["faces"])
    for found, expected in zip(faces, record["faces"], strict=True):
        np.testing.assert_allclose(found["bbox_xyxy"], expected["bbox_xyxy"], atol=1.0)
        np.testing.assert_allclose(found["landmarks_xy"], expected["landmarks_xy"], atol=1.0)
        for angle, degrees in expected["head_pose_deg"].items():
            assert found["head_pose_deg"][angle] == pytest.approx(degrees, abs=1.0)
        assert found["expression"]["label"] == expected["expression"]["label"]
        for name, probability in expected["expression"]["probabilities"].items():
            assert found["expression"]["probabilities"][name] == pytest.approx(probability, abs=0.03)


def test_reads_every_face_as_a_person_would():
    seen = {
        Path(record["image"]).name: {face["expression"]["label"] for face in record["faces"]}
        for record in RECORDS
    }
    assert seen == SEEN


@pytest.mark.skipif(not FERPLUS.is_file(), reason="the FER+ archive is not beside the checkout")
def test_four_hundred_validation_faces_are_read_as_well_as_promised():
    index = read_dataset("ferplus", FERPLUS).select("valid")
    counted = tuple(sample for sample in index.samples if sample.label is not None)[:400]
    classifier = ExpressionClassifier()
    promised = classifier.manifest.metrics["ferplus/valid"]["majority"]["accuracy"]
    summary = evaluate(classifier, replace(index, samples=counted)).summary
    low, high = summary["accuracy_interval"]
    assert low < promised < high
    assert summary["ece"] < 0.06
