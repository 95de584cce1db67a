"""Model files that compute in int8."""

import numpy as np
import onnx
import pytest

from mien.cli.main import main
from mien.errors import ParityError
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest, read_manifest
from mien.runtime import INT8_SUFFIX, find_model, open_session, shipped_models
from support.models import make_model
from support.training import write_stripes

faces = pytest.importorskip("mien.export.face_crops")
quantization = pytest.importorskip("mien.export.quantize")
parity = pytest.importorskip("mien.export.parity")

CROPS = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    return write_stripes(tmp_path_factory.mktemp("stripes") / "faces", train=4, valid=2)


def logits_of(graph, crops):
    images = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)
    return np.asarray(open_session(graph, device="cpu").run(["logits"], {"images": images})[0])


def operators(graph):
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


@pytest.mark.parametrize("name", ["mobile", "compact"])
def test_most_layers_compute_in_int8_and_all_outputs_remain(name, monkeypatch):
    monkeypatch.setattr(quantization, "FLOAT_LAYERS", (1,))
    original = find_model(name).read_bytes()
    graph, layers = quantization.quantize_graph(original, CROPS)
    assert layers == 1
    assert operators(graph).count("QuantizeLinear") > 0.5 * operators(original).count("Conv")
    outputs = [[output.name for output in onnx.load_from_string(data).graph.output] for data in (original, graph)]
    assert outputs[0] == outputs[1]
    assert len(graph) < 0.5 * 4 * 1.3e6


def test_logits_of_faces_follow_those_of_float32():
    model = find_model("mobile")
    crops = faces.generate_faces(model, 24).crops
    graph, _ = quantization.quantize_graph(model.read_bytes(), crops)
    expected = logits_of(model.read_bytes(), crops)
    logits = logits_of(graph, crops)
    assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.99
    second, first = np.sort(expected, axis=1)[:, -2:].T
    is_clear = first - second > 0.5
    assert is_clear.sum() > 12
    np.testing.assert_array_equal(logits.argmax(axis=1)[is_clear], expected.argmax(axis=1)[is_clear])


def test_sensitive_first_layers_stay_in_float32(monkeypatch):
    monkeypatch.setattr(quantization, "FLOAT_LAYERS", (1, 9))
    monkeypatch.setattr(quantization, "MIN_AGREEMENT", 1.1)
    graph, layers = quantization.quantize_graph(find_model("compact").read_bytes(), CROPS)
    assert layers == 9
    plain = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "Conv"]
    monkeypatch.setattr(quantization, "MIN_AGREEMENT", 0.0)
    graph, layers = quantization.quantize_graph(find_model("compact").read_bytes(), CROPS)
    assert (layers, len(plain)) == (
        1,
        len([node for node in onnx.load_from_string(graph).graph.node if node.op_type == "Conv"]),
    )


@pytest.mark.parametrize("flags", [("--quantize", "int8"), ("--format", "onnx", "--precision", "int8")])
def test_command_writes_a_measured_model(flags, stripes, tmp_path, capsys):
    path = tmp_path / "small.int8.onnx"
    arguments = ("export", "compact", "-o", path, *flags, "--data", stripes, "--dataset", "folder")
    code, _, err = run(capsys, *arguments, "--max-loss", "1", "--calibration-faces", "6")
    assert code == 0, err
    assert "int8 against float32: accuracy" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small.int8.json", "small.int8.onnx"]
    assert "QuantizeLinear" in operators(path.read_bytes())
    manifest = read_manifest(path)
    assert manifest.name == "small"
    assert manifest.source["quantization"].startswith("int8, ranges from 6 faces of")
    assert manifest.source["original_sha256"] == read_manifest(find_model("compact")).sha256
    assert list(manifest.metrics) == [manifest.source["parity"]["dataset"]]
    assert (
        manifest.source["parity"]["accuracy"][1]
        == manifest.metrics[manifest.source["parity"]["dataset"]]["labels"]["accuracy"]
    )
    assert ExpressionClassifier(path).logits(CROPS).shape == (24, 8)
    code, _, err = run(capsys, "export", path, "-o", tmp_path / "again.onnx")
    assert (code, err.count("\n")) == (2, 1)
    assert "computes in int8; use the float32 model" in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "needs --data"),
        (("--weights", "int8", "--data", "DATA", "--dataset", "folder"), "--weights has no effect"),
        (("--calibration-faces", "0", "--data", "DATA", "--dataset", "folder"), "calibration-faces is 0"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options, problem, stripes, tmp_path, capsys):
    options = [str(stripes) if option == "DATA" else option for option in options]
    code, out, err = run(capsys, "export", "compact", "-o", tmp_path / "a.onnx", "--quantize", "int8", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert problem in err
    assert not list(tmp_path.iterdir())


def test_missing_onnx_is_named_in_one_line(tmp_path, capsys, monkeypatch, stripes):
    monkeypatch.setitem(__import__("sys").modules, "mien.export.weights", None)
    code, _, err = run(
        capsys,
        "export",
        "compact",
        "-o",
        tmp_path / "a.onnx",
        "--quantize",
        "int8",
        "--data",
        stripes,
        "--dataset",
        "folder",
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "mien[adapt]" in err


def test_loss_beyond_the_limit_is_refused(tmp_path):
    labels = np.arange(100) % 4
    logits = 5 * np.eye(4)[labels]
    worse = logits.copy()
    worse[:2] = np.roll(worse[:2], 1, axis=1)
    compared = parity.compare_logits(logits, worse, labels, "faces/valid")
    assert compared.accuracy == (1.0, 0.98)
    assert compared.agreement == 0.98
    path = make_model(tmp_path / "a.onnx")
    parity.check_loss(compared, path, 0.03)
    manifest = read_manifest(path)
    assert manifest.source["parity"]["agreement"] == 0.98
    with pytest.raises(ParityError, match=r"from 100.00% to 98.00%, allowed are 1.00%"):
        parity.check_loss(compared, path, 0.01)
    assert isinstance(manifest, Manifest)


@pytest.mark.parametrize(
    "name", [name for name in shipped_models() if find_model(name).with_suffix(INT8_SUFFIX).is_file()]
)
def test_shipped_int8_file_describes_itself(name):
    path = find_model(name)
    quantized, original = read_manifest(path.with_suffix(INT8_SUFFIX)), read_manifest(path)
    assert quantized.sha256 != original.sha256
    assert (quantized.name, quantized.labels, quantized.alignment) == (
        original.name,
        original.labels,
        original.alignment,
    )
    assert (quantized.input, quantized.regions, quantized.trained_on) == (
        original.input,
        original.regions,
        original.trained_on,
    )
    assert quantized.source["original_sha256"] == original.sha256
    measured, reference = (manifest.metrics["ferplus/valid"]["majority"] for manifest in (quantized, original))
    assert reference["accuracy"] - measured["accuracy"] <= 0.003
    assert quantized.source["parity"]["agreement"] >= 0.98
    assert quantized.risk_coverage
    logits = [ExpressionClassifier(file).logits(CROPS).shape for file in (path, path.with_suffix(INT8_SUFFIX))]
    assert logits[0] == logits[1]
