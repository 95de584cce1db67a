import copy
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from mien import metrics
from mien.datasets import read_dataset
from mien.errors import ModelError, ParityError
from mien.evaluation.evaluate import evaluate
from mien.evaluation.predictions import predict_dataset
from mien.export import onnx as export
from mien.export.calibrate import COVERAGES, calibrate, risk_points
from mien.export.weights import store_weights
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import RiskPoint, TrainingSource, read_manifest
from mien.models import HybridNet
from mien.models.backbones import BACKBONES
from mien.models.network import ExpressionNetwork, NetworkOutput, Region, trace_graph
from mien.runtime import open_session
from mien.training.checkpoint import load_checkpoint, save_checkpoint
from mien.training.config import read_recipe
from mien.training.loop import train
from support.training import write_recipe, write_stripes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = write_stripes(folder / "data")
    return data, train(read_recipe(write_recipe(folder, data, epochs=6)), folder / "run")


def test_exports_and_calibrates_a_checkpoint(run, tmp_path):
    data, checkpoint = run
    path = tmp_path / "tiny.onnx"
    export.export_model(checkpoint, path, source={"commit": "abc"})
    index = read_dataset("folder", data)
    manifest, _, notes = calibrate(path, index.select("valid"), abstain=0.1)
    assert [note.split()[0] for note in notes] == ["only", "too"]
    assert manifest == read_manifest(path)
    assert manifest.labels == ("neutral", "happiness", "surprise")
    source = {"name": index.name, "license": "CC0"}
    assert manifest.trained_on == (
        TrainingSource(name="folder data, 48 training faces", license="CC0 (stated by the user)"),
        TrainingSource(name="initial weights: pretrained.ckpt", license="not stated"),
    )
    assert manifest.source == {"recipe": "tiny", "step": 36, "data": source, "commit": "abc"}
    assert manifest.license == "CC0"
    assert manifest.temperature != 1.0
    assert 1 / 3 < manifest.abstain_below <= 1
    assert calibrate(path, index.select("valid"), abstain=0.1)[0] == manifest
    first = manifest.risk_coverage[0]
    assert (first.coverage, first.confidence) == (1.0, 0.0)
    summary = evaluate(ExpressionClassifier(path), index.select("valid")).summary
    assert summary["accuracy"] == manifest.metrics[f"{index.name}/valid"]["labels"]["accuracy"]
    assert (summary["n"], summary["missed_faces"]) == (18, 18)
    assert first.error == pytest.approx(1 - summary["accuracy"], abs=1e-6)


def test_states_by_how_much_the_classes_were_balanced(run, tmp_path):
    checkpoint = load_checkpoint(run[1])
    checkpoint.config["data"]["balance"] = 0.5
    checkpoint.config["training"]["logit_adjustment"] = 0.2
    save_checkpoint(checkpoint, tmp_path / "balanced.ckpt")
    manifest = export.export_model(tmp_path / "balanced.ckpt", tmp_path / "tiny.onnx")
    # shares of the data to the power of (1 - 0.5)(1 - 0.2)
    assert manifest.source["balance"] == pytest.approx(0.6)


def test_calibration_states_class_shares_and_abstains_as_requested(run, tmp_path):
    data, checkpoint = run
    path = tmp_path / "tiny.onnx"
    export.export_model(checkpoint, path)
    valid = read_dataset("folder", data).select("valid")
    # 6 neutral faces, 4 of happiness, 2 of surprise
    dropped = {"happiness": 2, "surprise": 4}
    rare = {f"valid/{name}/{number}.png" for name, count in dropped.items() for number in range(count)}
    uneven = replace(valid, samples=tuple(sample for sample in valid.samples if sample.id not in rare))
    logits = predict_dataset(ExpressionClassifier(path), uneven).logits
    assert len(logits) == 12
    for abstain in (0.1, 0.25, 0.75):
        manifest = calibrate(path, uneven, abstain=abstain).manifest
        assert manifest.class_prior == pytest.approx(
            {"neutral": 1 / 2, "happiness": 1 / 3, "surprise": 1 / 6}, abs=1e-6
        )
        confidence = metrics.softmax(logits, manifest.temperature).max(axis=1)
        share = (confidence < manifest.abstain_below).mean()
        assert share == pytest.approx(abstain, abs=1.01 / 12)


def test_risk_points_match_their_thresholds():
    rng = np.random.default_rng(3)
    probabilities = metrics.softmax(rng.normal(0, 2, (500, 4)))
    labels = np.array([rng.choice(4, p=row) for row in probabilities])
    points = risk_points(probabilities, labels)
    assert [round(point.coverage, 2) for point in points] == list(COVERAGES)
    for point in points:
        is_labeled = probabilities.max(axis=1) >= point.confidence
        assert point.coverage == pytest.approx(is_labeled.mean(), abs=1e-6)
        wrong = probabilities[is_labeled].argmax(axis=1) != labels[is_labeled]
        assert point.error == pytest.approx(wrong.mean(), abs=1e-6)


def test_equal_confidences_give_one_risk_point():
    probabilities = np.tile([[0.7, 0.3]], (6, 1))
    assert risk_points(probabilities, np.array([0, 0, 0, 0, 0, 1])) == (
        RiskPoint(coverage=1.0, error=0.166667, confidence=0.0),
    )


def test_model_file_has_activation_maps(run, tmp_path):
    path = tmp_path / "tiny.onnx"
    manifest = export.export_model(run[1], path)
    assert manifest.regions == read_manifest(path).regions == ()
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    classifier = ExpressionClassifier(path)
    maps = np.stack([explanation.maps for explanation in classifier.explain(crops)])
    biases = classifier.logits(crops) - maps.mean(axis=(2, 3))
    np.testing.assert_allclose(biases, np.broadcast_to(biases[0], biases.shape), atol=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_trunk_passes_the_parity_check(backbone):
    torch.manual_seed(0)
    export.export_graph(HybridNet(3, backbone=backbone, regions="anatomical", attention=True).eval(), 64)


def test_half_precision_halves_the_weights_and_keeps_the_logits(run, tmp_path):
    halved = export.export_model(run[1], tmp_path / "half.onnx")
    full = export.export_model(run[1], tmp_path / "full.onnx", weights="float32")
    assert halved.sha256 != full.sha256
    weights = [
        sum(value.nbytes for value in map(numpy_helper.to_array, onnx.load(path).graph.initializer))
        for path in (tmp_path / "half.onnx", tmp_path / "full.onnx")
    ]
    assert weights[0] < 0.6 * weights[1]
    crops = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    logits = [ExpressionClassifier(tmp_path / name).logits(crops) for name in ("half.onnx", "full.onnx")]
    assert 0 < np.abs(logits[0] - logits[1]).max() < export.STORED_TOLERANCE["float16"]


def test_values_beyond_half_precision_stay_in_single_precision():
    graph = trace_graph(torch.nn.Conv2d(3, 64, 3), 8, "out")
    model = onnx.load_from_string(graph)
    weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(np.full((64, 3, 3, 3), 1e6, np.float32), weight.name))
    stored = onnx.load_from_string(store_weights(model.SerializeToString(), "float16"))
    assert {t.data_type for t in stored.graph.initializer} == {onnx.TensorProto.FLOAT}


class WithRegions(ExpressionNetwork):
    """A network of average colors, with two regions weighted by their brightness."""

    regions = (Region("upper", (0.0, 0.0, 1.0, 0.5)), Region("lower", (0.0, 0.5, 1.0, 1.0)))

    def __init__(self):
        super().__init__()
        self.classifier = torch.nn.Linear(3, 2)

    def frozen_features(self, images):
        return images / 255

    def forward_trainable(self, features):
        weights = features.mean(dim=(1, 3)).unflatten(1, (2, -1)).mean(dim=2).softmax(dim=1)
        return NetworkOutput(self.classifier(features.mean(dim=(2, 3))), features, weights)


def test_region_weights_are_exported_and_checked(monkeypatch):
    network = WithRegions()
    graph = export.export_graph(network, 32)
    images = torch.rand(2, 3, 32, 32).numpy() * 255
    names = ["logits", "maps", "regions"]
    logits, maps, weights = open_session(graph).run(names, {"images": images})
    assert (logits.shape, maps.shape, weights.shape) == ((2, 2), (2, 2, 32, 32), (2, 2))
    bias = network.classifier.bias.detach().numpy()
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + bias, logits, atol=1e-5)

    def trace_changed(module, size, *outputs):
        changed = copy.deepcopy(module)
        inner = changed.network
        inner.activation_maps = lambda feature_map: WithRegions.activation_maps(inner, feature_map) + 0.01
        return trace_graph(changed, size, *outputs)

    monkeypatch.setattr(export, "trace_graph", trace_changed)
    with pytest.raises(ParityError, match="maps differ"):
        export.export_graph(network, 32)


def test_logits_do_not_depend_on_the_batch_size(run, tmp_path):
    _, checkpoint = run
    path = tmp_path / "tiny.onnx"
    export.export_model(checkpoint, path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(3, 3, 32, 32).numpy() * 255
    (together,) = session.run(["logits"], {"images": images})
    (single,) = session.run(["logits"], {"images": images[1:2]})
    assert abs(together[1] - single[0]).max() < 1e-4


def test_rejects_a_graph_that_differs(run, tmp_path, monkeypatch):
    """One changed weight is enough."""

    def trace_changed(module, size, *outputs):
        changed = copy.deepcopy(module)
        with torch.no_grad():
            changed.network.classifier.bias[0] += 0.01
        return trace_graph(changed, size, *outputs)

    monkeypatch.setattr(export, "trace_graph", trace_changed)
    with pytest.raises(ParityError, match=r"logits differ from the network's by 0\.01, allowed 0\.0001"):
        export.export_model(run[1], tmp_path / "tiny.onnx")
    assert not list(tmp_path.iterdir())


def test_rejects_another_suffix(run, tmp_path):
    with pytest.raises(ModelError, match=r"must end in \.onnx"):
        export.export_model(run[1], tmp_path / "tiny.bin")
