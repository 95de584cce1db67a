"""Model files as torch modules: equal to ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from mien.errors import ModelError
from mien.runtime import ASSETS, open_session

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
torch_graph = pytest.importorskip("mien.export.torch_graph")

SHAPES = {
    "expression": (2, 3, 64, 64),
    "mobile": (2, 3, 64, 64),
    "compact": (2, 3, 64, 64),
    "open": (2, 3, 64, 64),
    "face-detector": (1, 96, 128, 3),
    "face-landmarks": (1, 256, 256, 3),
}


def random_input(shape: tuple[int, ...], kind: str) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, shape)
    return values.astype(np.uint8 if kind == "tensor(uint8)" else np.float32)


@pytest.mark.parametrize("name", SHAPES)
def test_shipped_models_equal_onnx_runtime(name):
    session = open_session(ASSETS / f"{name}.onnx", device="cpu")
    values = random_input(SHAPES[name], session.get_inputs()[0].type)
    expected = session.run(None, {session.get_inputs()[0].name: values})
    module = torch_graph.load_graph(ASSETS / f"{name}.onnx")
    with torch.no_grad():
        outputs = module(torch.from_numpy(values))
    assert module.output_names == tuple(output.name for output in session.get_outputs())
    for reference, output in zip(expected, outputs, strict=True):
        assert output.shape == reference.shape
        assert np.abs(output.numpy() - reference).max() <= 1e-4 * max(1, np.abs(reference).max())


def test_keeps_only_the_selected_outputs_and_their_operators():
    module = torch_graph.load_graph(ASSETS / "mobile.onnx", "embedding")
    assert module.output_names == ("embedding",)
    assert all(step.operator != "Gemm" or step.output != "logits" for step in module.steps)
    assert [output.shape for output in module(torch.zeros(1, 3, 64, 64))] == [(1, 1024)]


def convolution(pads: list[int], strides: list[int]) -> bytes:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    node = onnx.helper.make_node("Conv", ["images", "weight"], ["features"], pads=pads, strides=strides)
    return graph_of(node, [onnx.numpy_helper.from_array(weight, "weight")])


def graph_of(node: object, tensors: list[object], size_hw: tuple[int, int] = (9, 10)) -> bytes:
    graph = onnx.helper.make_graph(
        [node],
        "graph",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, *size_hw])],
        [onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None)],
        tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.mark.parametrize("strides", [[1, 1], [2, 2], [3, 2]])
@pytest.mark.parametrize("pads", [[0, 0, 1, 1], [1, 1, 0, 0], [0, 2, 1, 0], [3, 1, 1, 2]])
def test_asymmetric_padding_is_put_into_the_kernel(pads, strides):
    graph = convolution(pads, strides)
    images = np.random.default_rng(1).normal(size=(1, 3, 9, 10)).astype(np.float32)
    expected = np.asarray(open_session(graph, device="cpu").run(None, {"images": images})[0])
    module = torch_graph.load_graph(graph)
    padding = module.steps[0].attributes["pads"]
    assert padding[:2] == padding[2:]
    np.testing.assert_allclose(module(torch.from_numpy(images))[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("side", "target"), [(9, 15), (96, 160), (11, 197), (3, 43)])
def test_resized_images_have_the_sizes_of_onnx_runtime(side, target):
    """float32 factors such as 160 / 96 are not exact."""
    factors = np.array([1, 1, target / side, 2], dtype=np.float32)
    node = onnx.helper.make_node("Resize", ["images", "", "factors"], ["features"], mode="linear")
    graph = graph_of(node, [onnx.numpy_helper.from_array(factors, "factors")], (side, 10))
    images = np.random.default_rng(1).normal(size=(1, 3, side, 10)).astype(np.float32)
    expected = np.asarray(open_session(graph, device="cpu").run(None, {"images": images})[0])
    assert torch_graph.load_graph(graph)(torch.from_numpy(images))[0].shape == expected.shape


def test_refuses_models_that_compute_in_int8():
    with pytest.raises(ModelError, match="computes in int8; use the float32 model"):
        torch_graph.load_graph(ASSETS / "expression.int8.onnx")


def test_refuses_unknown_operators_by_name():
    with pytest.raises(ModelError, match="Selu"):
        torch_graph.load_graph(graph_of(onnx.helper.make_node("Selu", ["images"], ["features"]), []))


def test_refuses_unknown_outputs():
    with pytest.raises(ModelError, match="no output boxes; it has logits"):
        torch_graph.load_graph(ASSETS / "mobile.onnx", "boxes")
