"""Parity of the shipped detector graph with the published network."""

import runpy

import numpy as np
import pytest

from mien.errors import ModelError
from mien.imaging import read_image, resize
from mien.runtime import ASSETS, open_session

onnx = pytest.importorskip("onnx")

ASSET = ASSETS / "face-detector.onnx"
MAX_DIFFERENCE = 2e-3
"""Maximum difference of confidences, and of boxes and landmarks in sides of their cell."""


@pytest.fixture(scope="module")
def original(root):
    return root / "tests/reference/yunet.onnx"


@pytest.fixture(scope="module")
def recipe(root):
    return runpy.run_path(str(root / "recipes/lighten_detector.py"))


def published_outputs(session, image):
    """Return confidences (C,), and boxes and landmarks (C, 14), of the published network for an image."""
    names = [output.name for output in session.get_outputs()]
    pixels = np.ascontiguousarray(image[None, :, :, ::-1].transpose(0, 3, 1, 2), dtype=np.float32)
    outputs = dict(zip(names, session.run(names, {"input": pixels}), strict=True))
    confidences = [np.sqrt(outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"])[0, :, 0] for stride in (8, 16, 32)]
    values = [
        np.concatenate([outputs[f"bbox_{stride}"], outputs[f"kps_{stride}"]], axis=2)[0] for stride in (8, 16, 32)
    ]
    return np.concatenate(confidences), np.concatenate(values)


@pytest.mark.parametrize("size_hw", [(32, 32), (480, 640), (640, 416)])
def test_cells_match_the_published_network(original, examples, size_hw):
    reference, shipped = open_session(original, 1), open_session(ASSET, 1)
    images = [resize(read_image(path), size_hw) for path in sorted(examples.glob("*.jpg"))]
    confidences, cells = (np.asarray(output) for output in shipped.run(None, {"images": np.stack(images)}))
    assert confidences.max() > 0.8 or size_hw == (32, 32)
    for image, confidence, cell in zip(images, confidences, cells, strict=True):
        expected_confidences, expected_cells = published_outputs(reference, image)
        np.testing.assert_allclose(confidence, expected_confidences, rtol=0, atol=MAX_DIFFERENCE)
        np.testing.assert_allclose(cell[:, 2:], expected_cells, rtol=0, atol=MAX_DIFFERENCE)


def test_recipe_reproduces_the_shipped_graph(recipe, original):
    assert recipe["lighten"](onnx.load(original)) == onnx.load(ASSET)


def test_graph_uses_only_standard_operators():
    model = onnx.load(ASSET)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.domain for opset in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}


def test_recipe_rejects_another_file(recipe, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(b"another network")
    with pytest.raises(ModelError, match="expected cb3ece9f3d92"):
        recipe["write_asset"](other, tmp_path / "face-detector.onnx")
    assert list(tmp_path.iterdir()) == [other]
