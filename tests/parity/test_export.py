import copy

import onnxruntime as ort
import pytest
import torch

from mien.datasets import read_dataset
from mien.errors import ModelError, ParityError
from mien.evaluation.evaluate import evaluate
from mien.export import onnx as export
from mien.export.calibrate import calibrate
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import read_manifest
from mien.models.network import trace_graph
from mien.training.config import read_recipe
from mien.training.loop import train
from training_made import write_recipe, write_stripes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = write_stripes(folder / "data")
    return data, train(read_recipe(write_recipe(folder, data, epochs=6)), folder / "run")


def test_checkpoint_to_model_file_to_numbers(run, tmp_path):
    data, checkpoint = run
    path = tmp_path / "tiny.onnx"
    export.export_model(checkpoint, path, source={"commit": "abc"})
    index = read_dataset("folder", data)
    manifest = calibrate(path, index.select("valid"), abstain=0.1)
    assert manifest == read_manifest(path)
    assert manifest.labels == ("neutral", "happiness", "surprise")
    assert manifest.source == {"recipe": "tiny", "step": 36, "commit": "abc"}
    assert manifest.licence == "CC0"
    assert manifest.temperature != 1.0
    assert 1 / 3 < manifest.abstain_below <= 1
    summary = evaluate(ExpressionClassifier(path), index.select("valid")).summary
    assert summary["accuracy"] == manifest.metrics[f"{index.name}/valid"]["labels"]["accuracy"]
    assert (summary["n"], summary["missed_faces"]) == (18, 18)


def test_every_batch_size_and_both_engines_agree(run, tmp_path):
    _, checkpoint = run
    path = tmp_path / "tiny.onnx"
    export.export_model(checkpoint, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(3, 3, 32, 32).numpy() * 255
    (together,) = session.run(["logits"], {"images": images})
    (alone,) = session.run(["logits"], {"images": images[1:2]})
    assert abs(together[1] - alone[0]).max() < 1e-4


def test_refuses_a_graph_that_differs(run, tmp_path, monkeypatch):
    """One weight changed on the way to ONNX is enough."""

    def trace_changed(network, size, output):
        changed = copy.deepcopy(network)
        with torch.no_grad():
            changed.classifier.bias[0] += 0.01
        return trace_graph(changed, size, output)

    monkeypatch.setattr(export, "trace_graph", trace_changed)
    with pytest.raises(ParityError, match=r"differs from the network by 0\.01"):
        export.export_model(run[1], tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_refuses_another_suffix(run, tmp_path):
    with pytest.raises(ModelError, match=r"ends in \.onnx"):
        export.export_model(run[1], tmp_path / "tiny.bin")
