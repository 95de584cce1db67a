"""Formats of other runtimes: equal to ONNX Runtime, refused beyond tolerance, and missing packages."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image

from mien.cli.main import main
from mien.datasets import read_folder
from mien.errors import InputError, MissingExtraError, ModelError, ParityError
from mien.manifest import read_manifest
from mien.runtime import find_model
from support.models import TINY_SIZE, make_model

torch = pytest.importorskip("torch")
formats = pytest.importorskip("mien.export.formats")
conversion = pytest.importorskip("mien.export.formats.conversion")
faces = pytest.importorskip("mien.export.face_crops")
model_file = pytest.importorskip("mien.export.formats.model_file")
parity = pytest.importorskip("mien.export.formats.parity")
torch_graph = pytest.importorskip("mien.export.torch_graph")

OTHERS = {"litert": "litert_torch", "executorch": "executorch", "coreml": "coremltools"}
converters_may_warn = pytest.mark.filterwarnings("ignore")
"""Converters warn about deprecated calls in themselves and about versions that they have not been tested with."""


class TwoOutputs(torch.nn.Module):
    """Means and maxima of the color channels."""

    def forward(self, images, offset):
        return images.mean((2, 3)) + offset, images.amax((2, 3))


def convert_two_outputs(path, name, precision="float32"):
    examples = (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3))
    signature = {"input_names": ("images", "offset"), "output_names": ("means", "maxima")}
    inputs = np.random.default_rng(0).uniform(0, 1, (20, 1, 3, 8, 8)).astype(np.float32)
    offset = np.array([[1, 2, 3]], dtype=np.float32)
    calibration = [(torch.from_numpy(images), torch.from_numpy(offset)) for images in inputs]
    formats.convert(
        TwoOutputs(), examples, path, format=name, precision=precision, calibration=calibration, **signature
    )
    if not formats.can_run(name):
        return
    outputs = formats.open_runner(path, format=name, **signature)([inputs[0], offset])
    tolerance = {"float32": 1e-5, "float16": 5e-3, "int8": 0.05}[precision]
    np.testing.assert_allclose(outputs[0], inputs[0].mean((2, 3)) + offset, atol=tolerance)
    np.testing.assert_allclose(outputs[1], inputs[0].max((2, 3)), atol=tolerance)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_onnx_returns_named_outputs_in_order(precision, tmp_path):
    convert_two_outputs(tmp_path / "two.onnx", "onnx", precision)


@converters_may_warn
@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_return_named_outputs_in_order(name, tmp_path):
    pytest.importorskip(OTHERS[name], reason=f"needs the extra {name}")
    convert_two_outputs(tmp_path / f"two{formats.FORMATS[name].suffix}", name)


@pytest.mark.slow
@converters_may_warn
@pytest.mark.parametrize("name", ["litert", "executorch"])
def test_other_formats_compute_in_int8(name, tmp_path):
    pytest.importorskip(OTHERS[name], reason=f"needs the extra {name}")
    convert_two_outputs(tmp_path / f"two{formats.FORMATS[name].suffix}", name, "int8")


def test_missing_packages_name_the_extra(monkeypatch):
    def fail(name):
        raise ModuleNotFoundError("no module", name="litert_torch")

    monkeypatch.setattr(conversion, "import_module", fail)
    with pytest.raises(MissingExtraError, match=r"litert_torch is missing.*mien\[litert\]"):
        formats.check_packages("litert")


def test_packages_that_cannot_be_loaded_are_not_reported_as_missing(monkeypatch):
    def fail(name):
        raise ImportError("cannot import name 'Interpreter' from 'ai_edge_litert'")

    monkeypatch.setattr(conversion, "import_module", fail)
    with pytest.raises(ModelError, match=r"cannot be loaded: cannot import name 'Interpreter'"):
        formats.check_packages("litert")


def test_errors_of_a_converter_name_the_format(monkeypatch, tmp_path):
    def fail(*arguments):
        raise RuntimeError("aten.topk has no lowering\nstack of the converter")

    monkeypatch.setattr(conversion, "import_module", lambda name: SimpleNamespace(convert=fail))
    with pytest.raises(ModelError, match=r"cannot be converted to litert: aten\.topk has no lowering$"):
        convert_two_outputs(tmp_path / "two.tflite", "litert")


def test_int8_needs_calibration_inputs(tmp_path):
    with pytest.raises(InputError, match="calibration inputs"):
        formats.convert(
            TwoOutputs(),
            (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3)),
            tmp_path / "a.onnx",
            format="onnx",
            precision="int8",
            input_names=("images", "offset"),
            output_names=("means", "maxima"),
        )


def test_generated_faces_are_reproducible_and_differ(tiny_model):
    first, second = (faces.generate_faces(tiny_model, 3) for _ in range(2))
    assert first.crops.shape == (3, TINY_SIZE, TINY_SIZE, 3)
    assert np.array_equal(first.crops, second.crops)
    assert not np.array_equal(first.crops[0], first.crops[1])


@pytest.mark.parametrize("name", ["mobile", "open"])
def test_generated_faces_show_errors_of_a_conversion(name):
    """Exchanged colors and lower contrast; the probabilities of a smile do not change with them."""
    path = find_model(name)
    crops = faces.generate_faces(path, 40)
    run = runner_of(path)
    for change in (lambda images: images[:, ::-1].copy(), lambda images: 0.9 * images):
        measured = parity.measure_parity(path, lambda inputs, change=change: run([change(inputs[0])]), crops)
        for precision in ("float32", "float16"):
            with pytest.raises(ParityError, match="a probability of the"):
                parity.check_parity(measured, precision)


def test_parity_counts_labels_and_refuses_too_few(tiny_model):
    crops = faces.generate_faces(tiny_model, 4)
    same = parity.measure_parity(tiny_model, runner_of(tiny_model), crops)
    assert (same.agreement, same.max_difference) == (1.0, 0.0)
    parity.check_parity(same, "float32")

    def reverse(inputs):
        return [-runner_of(tiny_model)(inputs)[0]]

    other = parity.measure_parity(tiny_model, reverse, crops)
    assert other.agreement == 0.0
    with pytest.raises(ParityError, match=r"0.00% of 4 variants of one photograph, expected at least 98.0%"):
        parity.check_parity(other, "int8")
    with pytest.raises(ParityError, match=r"expected at least 99.0%"):
        parity.check_parity(replace(same, agreement=0.98), "float16")
    parity.check_parity(replace(same, max_difference=0.05), "float16")
    for difference in (0.0011, float("nan")):
        with pytest.raises(ParityError, match=r"a probability of the float32 file differs .*, allowed 0\.001"):
            parity.check_parity(replace(same, max_difference=difference), "float32")


def runner_of(path):
    return formats.open_runner(path, format="onnx", input_names=("images",), output_names=("logits",))


def test_export_writes_a_file_with_a_manifest_that_states_the_parity(tiny_model, tmp_path, capsys):
    path = tmp_path / "half.onnx"
    assert main(["export", str(tiny_model), "--format", "onnx", "--precision", "float16", "-o", str(path)]) == 0
    assert "same label 100.00% of 100 variants of one photograph" in capsys.readouterr().out
    source = read_manifest(path).source
    assert (source["format"], source["precision"]) == ("onnx", "float16")
    assert source["parity"]["agreement"] == 1.0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["half.json", "half.onnx"]


def test_float16_is_valid_and_not_converted_again(tmp_path, capsys):
    half = tmp_path / "half.onnx"
    assert main(["export", "compact", "--precision", "float16", "-o", str(half)]) == 0
    onnx.checker.check_model(half, full_check=True)
    capsys.readouterr()
    for option, name in (("-o", "again.onnx"), ("--bundle", "phone")):
        assert main(["export", str(half), option, str(tmp_path / name)]) == 2
        error = "mien: the model computes in float16; use the float32 model that it was made from.\n"
        assert capsys.readouterr().err == error
    with pytest.raises(ModelError, match="computes in float16"):
        torch_graph.load_graph(half)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["half.json", "half.onnx"]


def test_manifest_of_a_temporary_copy_names_its_original(tmp_path):
    copy = make_model(tmp_path / "float32.onnx", source={"original_sha256": "1" * 64})
    conversion = model_file.ModelConversion(
        original=copy, output=tmp_path / "a.onnx", format="onnx", precision="float32"
    )
    conversion.write()
    assert conversion.write_manifest(None).source["original_sha256"] == "1" * 64


def test_export_in_int8_needs_data(tiny_model, tmp_path, capsys):
    path = tmp_path / "a.onnx"
    arguments = ["export", str(tiny_model), "--format", "onnx", "--precision", "int8", "-o", str(path)]
    assert main(arguments) == 2
    assert "needs --data" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_onnx_in_int8_computes_in_int8(tmp_path):
    crops = faces.generate_faces(find_model("mobile"), 12)
    int8 = model_file.ModelConversion(
        original=find_model("mobile"), output=tmp_path / "a.onnx", format="onnx", precision="int8", calibration=crops
    )
    int8.write()
    operators = [node.op_type for node in onnx.load(int8.output).graph.node]
    assert operators.count("QuantizeLinear") > 0.5 * operators.count("Conv") > 0
    measured = int8.measure(crops)
    assert measured is not None
    assert measured.agreement > 0.9
    assert measured.max_difference < 0.1
    assert int8.write_manifest(measured).source["quantization"] == f"int8, ranges from {crops.origin}"


def test_onnx_in_int8_needs_calibration_faces(tmp_path):
    int8 = model_file.ModelConversion(
        original=find_model("mobile"), output=tmp_path / "a.onnx", format="onnx", precision="int8"
    )
    with pytest.raises(InputError, match="int8 needs calibration faces"):
        int8.write()
    assert list(tmp_path.iterdir()) == []


def test_calibration_faces_are_drawn_at_random(tiny_model, tmp_path):
    for number, name in enumerate(("neutral", "happiness", "surprise")):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        for copy in range(8):
            Image.new("RGB", (48, 48), (50 * number,) * 3).save(folder / f"{copy}.png")
    index = read_folder(tmp_path)
    drawn = faces.draw_faces(tiny_model, index, 8)
    levels = drawn.crops[:, 24, 24, 0].tolist()
    assert len(levels) == 8
    assert set(levels) == {0, 50, 100}
    assert np.array_equal(faces.draw_faces(tiny_model, index, 8).crops, drawn.crops)


def test_hash_of_a_folder_covers_its_files(tmp_path):
    package = tmp_path / "a.mlpackage"
    package.mkdir()
    (package / "weights").write_bytes(b"1")
    first = model_file.content_sha256(package)
    (package / "weights").write_bytes(b"2")
    assert model_file.content_sha256(package) != first
