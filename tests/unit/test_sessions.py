from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from mien import devices, sessions
from mien.devices import CPU
from mien.errors import DeviceError
from mien.runtime import open_session
from mien.sessions import open_first, run_one_at_a_time

GRAY = np.full((1, 3, 48, 48), 127, dtype=np.float32)


class Broken:
    """A session whose provider did not start: ONNX Runtime continues on the CPU."""

    tried: tuple[str, ...] = ()

    def __init__(self, model, options, providers, enable_fallback):
        assert not enable_fallback
        self.providers = [name for name, _ in providers]
        Broken.tried += tuple(self.providers)

    def get_providers(self):
        return ["CPUExecutionProvider"]


@pytest.fixture
def broken_cuda(monkeypatch):
    """Pretend that CUDA is available and that its library cannot be loaded."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", Broken)
    monkeypatch.setattr(Broken, "tried", ())
    monkeypatch.setattr(devices, "_failed", set())


def test_provider_that_does_not_start_is_an_error(broken_cuda):
    with pytest.raises(DeviceError, match='device "cuda:0" cannot start'):
        open_first(lambda device: Path("m.onnx"), 1, "cuda:0")


def test_auto_continues_on_the_cpu_and_remembers_the_failure(broken_cuda):
    chosen = []

    def choose(device):
        chosen.append(str(device))
        return Path("m.onnx")

    for _ in range(2):
        assert open_first(choose, 1, "auto")[1] == CPU
    assert chosen == ["cuda", "cpu", "cpu"]
    assert Broken.tried == ("CUDAExecutionProvider", "CPUExecutionProvider", "CPUExecutionProvider")


@pytest.fixture
def without_cuda(broken_cuda, monkeypatch):
    """Pretend that libraries of CUDA are missing, which ONNX Runtime prints."""

    def preload():
        print("Failed to load libcublas.so.13: cannot open shared object file")
        print("Failed to load C:\\cuda\\cudnn64_9.dll: The specified module could not be found")
        print("Please follow https://onnxruntime.ai")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    sessions._load_cuda.cache_clear()
    yield
    sessions._load_cuda.cache_clear()


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_missing_cuda_libraries_are_named_in_one_line(without_cuda, capsys, device):
    with pytest.raises(DeviceError) as error:
        open_first(lambda device: Path("m.onnx"), 1, device)
    assert str(error.value).startswith(f'device "{device}" cannot start: libcublas.so.13, ')
    assert str(error.value).endswith("pip install 'onnxruntime-gpu[cuda,cudnn]'")
    output = capsys.readouterr()
    assert output.out + output.err == ""


def test_auto_prints_nothing_about_missing_cuda(without_cuda, capsys):
    assert open_first(lambda device: Path("m.onnx"), 1, "auto")[1] == CPU
    output = capsys.readouterr()
    assert output.out + output.err == ""


class Failing(Broken):
    """A session whose provider cannot compile the graph, with the long message of OpenVINO."""

    def __init__(self, model, options, providers, enable_fallback):
        raise RuntimeError("a/b/c.cc:1 " * 100 + "\n\nWhile compiling\nchannels do not match.\n\n\n")


def test_graph_that_a_device_cannot_run_is_one_line_with_the_cause(broken_cuda, monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", Failing)
    with pytest.raises(DeviceError) as error:
        open_first(lambda device: Path("m.onnx"), 1, "cuda")
    assert str(error.value) == 'm.onnx: device "cuda" cannot run it: channels do not match.'


def test_directml_runs_one_call_at_a_time(tiny_model):
    session = open_session(tiny_model, 1, device="cpu")
    expected = session.run(None, {"images": GRAY})[0]
    run_one_at_a_time(session)
    np.testing.assert_array_equal(session.run(None, {"images": GRAY})[0], expected)
    np.testing.assert_array_equal(session.run(["logits"], input_feed={"images": GRAY})[0], expected)


@pytest.mark.parametrize("has_products", [True, False])
def test_unsigned_weights_replace_signed_ones_only_without_int8_dot_products(tiny_model, monkeypatch, has_products):
    # they cost CPUs with dot products their fast kernels
    monkeypatch.setattr(sessions, "has_int8_products", lambda: has_products)
    options = open_session(tiny_model, 1, device="cpu").get_session_options()
    if has_products:
        with pytest.raises(RuntimeError, match="x64quantprecision"):
            options.get_session_config_entry("session.x64quantprecision")
    else:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_sums_of_int8_products_do_not_saturate():
    """By default, CPUs with AVX2 or AVX-512 but without VNNI add pairs of products in 16 bits."""
    tensors = [
        helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("zero", onnx.TensorProto.UINT8, [], [0]),
        helper.make_tensor("zeros", onnx.TensorProto.INT8, [], [0]),
        helper.make_tensor("wide", onnx.TensorProto.FLOAT, [], [8192.0]),
        helper.make_tensor("weight", onnx.TensorProto.INT8, [8, 64, 1, 1], [127] * 512),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["pixels"]),
        helper.make_node("DequantizeLinear", ["pixels", "scale", "zero"], ["restored"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zeros"], ["weights"]),
        helper.make_node("Conv", ["restored", "weights"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "wide", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "wide", "zero"], ["output"]),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("images", "output")]
    graph = helper.make_graph(nodes, "sum", values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session(model.SerializeToString(), 1, device="cpu")
    [output] = session.run(None, {"images": np.full((1, 64, 4, 4), 255, dtype=np.float32)})
    assert output == pytest.approx(64 * 127 * 255, abs=8192)
