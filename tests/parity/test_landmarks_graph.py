"""Parity of the shipped landmark graph with the converted network."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from mien.faces import FaceDetector
from mien.faces.mesh_network import POINTS, mesh_crop_matrix
from mien.imaging import read_image, warp
from mien.runtime import ASSETS, open_session

onnx = pytest.importorskip("onnx")

ASSET = ASSETS / "face-landmarks.onnx"
ORIGINAL = Path(__file__).parents[3] / "shared/models/face_landmarks_478.onnx"
MAX_DIFFERENCE = 1e-3
"""Maximum difference of coordinates, in pixels of the 256-pixel crop, and of the presence logit."""

needs_original = pytest.mark.skipif(not ORIGINAL.is_file(), reason="needs the converted network")


@pytest.fixture(scope="module")
def recipe(root):
    return runpy.run_path(str(root / "recipes/lighten_landmarks.py"))


@pytest.fixture(scope="module")
def crops(examples):
    """Mesh crops (N, 256, 256, 3) uint8 of every face in the example images."""
    detector = FaceDetector(max_side=1280, threads=1)
    crops = []
    for path in sorted(examples.glob("*.jpg")):
        image = read_image(path)
        for face in detector.detect(image):
            matrix = mesh_crop_matrix(face.bbox_xyxy, face.landmarks_xy[:2], 256)
            crops.append(warp(image, matrix, (256, 256)))
    return np.stack(crops)


def run(session, images):
    if session.get_inputs()[0].type == "tensor(float)":
        images = images.astype(np.float32) / np.float32(255)
    names = [output.name for output in session.get_outputs()[:2]]
    return [np.asarray(output) for output in session.run(names, {session.get_inputs()[0].name: images})]


@needs_original
def test_points_and_presence_match_the_converted_network(crops):
    assert len(crops) >= 8
    shipped, original = open_session(ASSET, 1), open_session(ORIGINAL, 1)
    blank = np.stack([np.zeros_like(crops[0]), np.full_like(crops[0], 255)])
    for size in (1, 2, 5, len(crops)):
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            for output, expected in zip(run(shipped, batch), run(original, batch), strict=True):
                assert output.shape == expected.shape
                np.testing.assert_allclose(output, expected, rtol=0, atol=MAX_DIFFERENCE)
    for output, expected in zip(run(shipped, blank), run(original, blank), strict=True):
        np.testing.assert_allclose(output, expected, rtol=0, atol=MAX_DIFFERENCE)


@needs_original
def test_recipe_reproduces_the_shipped_graph(recipe):
    assert recipe["lighten"](onnx.load(ORIGINAL)) == onnx.load(ASSET)
    assert ASSET.stat().st_size <= ORIGINAL.stat().st_size


def test_graph_uses_only_standard_operators():
    model = onnx.load(ASSET)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions


def test_batch_size_is_dynamic():
    model = onnx.load(ASSET)
    for end in [*model.graph.input, *model.graph.output]:
        assert not end.type.tensor_type.shape.dim[0].HasField("dim_value")
    points, presence = run(open_session(ASSET, 1), np.zeros((3, 256, 256, 3), np.uint8))
    assert points.size == 3 * POINTS * 3
    assert presence.size == 3


def test_recipe_rejects_another_file(recipe, tmp_path):
    from mien.errors import ModelError

    other = tmp_path / "other.onnx"
    other.write_bytes(b"another network")
    with pytest.raises(ModelError, match="expected 878ec23dd27e"):
        recipe["write_asset"](other, tmp_path / "face-landmarks.onnx")
    assert list(tmp_path.iterdir()) == [other]
