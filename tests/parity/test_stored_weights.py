"""Model files whose weights are stored in other types."""

import numpy as np
import pytest

from mien.cli.main import main
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import read_manifest
from mien.runtime import ASSETS, find_model, shipped_models

weights = pytest.importorskip("mien.export.weights")

MAX_DIFFERENCE = {"float32": 0.0, "float16": 0.01, "int8": 0.2}
"""Maximum difference of the logits to those of a shipped model, which stores float16 or int8."""


@pytest.mark.parametrize("name", shipped_models())
@pytest.mark.parametrize("kind", MAX_DIFFERENCE)
def test_stored_weights_predict_nearly_the_same(name, kind, tmp_path):
    path = tmp_path / f"{name}.onnx"
    manifest = weights.restore_model(find_model(name), path, kind)
    crops = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    stored, shipped = ExpressionClassifier(path, threads=1), ExpressionClassifier(find_model(name), threads=1)
    difference = np.abs(stored.logits(crops) - shipped.logits(crops)).max()
    assert difference <= MAX_DIFFERENCE[kind] + 1e-4
    assert manifest.temperature == read_manifest(ASSETS / f"{name}.onnx").temperature


def test_types_differ_in_size_and_storing_again_changes_nothing():
    graph = find_model("expression").read_bytes()
    stored = {kind: weights.store_weights(graph, kind) for kind in MAX_DIFFERENCE}
    sizes = {kind: len(data) for kind, data in stored.items()}
    assert sizes["int8"] < 0.6 * sizes["float16"] < 0.35 * sizes["float32"]
    for kind, data in stored.items():
        assert weights.store_weights(data, kind) == data


def test_a_model_is_not_overwritten_by_itself(tmp_path, capsys):
    path = tmp_path / "own.onnx"
    weights.restore_model(find_model("compact"), path, "float16")
    before = path.read_bytes()
    assert main(["export", str(path), "-o", str(path), "--weights", "int8"]) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_output_must_be_a_model_file(tmp_path, capsys):
    assert main(["export", "compact", "-o", str(tmp_path / "out.json"), "--weights", "int8"]) == 2
    assert ".onnx" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_model_file_is_exported_without_a_checkpoint(tmp_path, capsys):
    assert main(["export", "expression", "-o", str(tmp_path / "small.onnx"), "--weights", "int8"]) == 0
    assert "numbers of the original weights" in capsys.readouterr().out
    assert (
        read_manifest(tmp_path / "small.onnx").source["original_sha256"]
        == read_manifest(find_model("expression")).sha256
    )


def test_refuses_to_replace_a_folder(tmp_path, capsys):
    (tmp_path / "a.onnx").mkdir()
    assert main(["export", "mobile", "-o", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err == f"mien: {tmp_path / 'a.onnx'} is a directory; expected a file name.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
