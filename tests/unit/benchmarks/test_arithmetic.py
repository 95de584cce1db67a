"""Multiply-adds of a graph."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

onnx = pytest.importorskip("onnx")
arithmetic = pytest.importorskip("arithmetic")


def model_of(node, weights, shape):
    helper = onnx.helper
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.zeros(weights, dtype=np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("node", "weights", "shape", "expected"),
    [
        (("Conv", {"group": 2}), (6, 2, 3, 3), (1, 4, 10, 12), 6 * 8 * 10 * 2 * 9),
        (("Gemm", {"transB": 1}), (5, 7), (3, 7), 3 * 5 * 7),
        (("MatMul", {}), (7, 5), (3, 7), 3 * 5 * 7),
    ],
)
def test_counts_multiply_adds(node, weights, shape, expected):
    name, attributes = node
    model = model_of(onnx.helper.make_node(name, ["x", "w"], ["y"], **attributes), weights, shape)
    assert arithmetic.multiply_adds(model, {"x": np.zeros(shape, dtype=np.float32)}) == expected


def test_integer_rates_count_as_many_multiply_adds_as_float32():
    models = arithmetic.rate_models()
    counts = {name: arithmetic.multiply_adds(model, {"x": x}) for name, (model, x) in models.items()}
    assert counts["int8 convolution"] == counts["float32 convolution"]
    assert counts["int8 matrix product"] == counts["float32 matrix product"] == arithmetic.MATRIX_SIZE**3
