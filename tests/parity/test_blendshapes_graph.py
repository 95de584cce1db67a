"""Parity of the shipped blendshape graph with the converted network."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from mien.manifest import file_sha256
from mien.runtime import ASSETS, open_session

onnx = pytest.importorskip("onnx")

ASSET = ASSETS / "face-blendshapes.onnx"
ORIGINAL = Path(__file__).parents[3] / "shared/models/face_blendshapes_52.onnx"
pytestmark = pytest.mark.skipif(not ORIGINAL.is_file(), reason="needs the converted network")


@pytest.fixture(scope="module")
def recipe(root):
    return runpy.run_path(str(root / "recipes/rebuild_blendshapes.py"))


def test_coefficients_match_the_converted_network(recipe):
    meshes = np.random.default_rng(0).normal(100, 30, (6, 478, 2)).astype(np.float32)
    points = [int(point) for point in recipe["POINTS"].split()]
    shipped, original = open_session(ASSET, 1), open_session(ORIGINAL, 1)
    name = original.get_inputs()[0].name
    expected = [original.run(None, {name: mesh[None, points]})[0] for mesh in meshes]
    np.testing.assert_allclose(shipped.run(None, {"mesh": meshes})[0], expected, atol=1e-3)


def test_recipe_rebuilds_the_asset(recipe, tmp_path):
    recipe["write_asset"](ORIGINAL, tmp_path / "face-blendshapes.onnx")
    assert file_sha256(tmp_path / "face-blendshapes.onnx") == file_sha256(ASSET)
