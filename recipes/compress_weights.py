"""Convolution weights in 4 bits: indices of 16 values that a layer shares, and a scale per output channel."""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from mien.export.weights import MIN_CHANNELS, MIN_VALUES, read_graph, shorten_names

OPSET = 21
"""First ONNX operator set with 4-bit tensors."""
VALUES = 16
ITERATIONS = 30


def share_weights(graph: bytes, *, is_uniform: bool) -> bytes:
    """Store large convolution weights in 4 bits and other weights as float16; a session restores float32.

    Args:
        graph: an expression model with weights of any type.
        is_uniform: use the multiples of 1/7 as the shared values; otherwise those of a k-means clustering.

    Source:
        Han, Mao, Dally (ICLR 2016), "Deep compression", section 3, for shared values by k-means.
    """
    model = version_converter.convert_version(read_graph(graph), OPSET)
    nodes: list[NodeProto] = []
    readers = {node.input[1] for node in model.graph.node if node.op_type == "Conv" and "maps" not in node.output}
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MIN_VALUES:
            continue
        if tensor.name in readers and tensor.dims[1] >= MIN_CHANNELS:
            nodes += _share(model, tensor, is_uniform)
        else:
            nodes.append(_halve(tensor))
    nodes += model.graph.node
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    shorten_names(model)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _share(model: ModelProto, tensor: TensorProto, is_uniform: bool) -> list[NodeProto]:
    """Replace a weight (O, I, h, w) by indices, shared values and scales; return the nodes that restore it."""
    name, weight = tensor.name, numpy_helper.to_array(tensor)
    scales = np.maximum(np.abs(weight).reshape(len(weight), -1).max(axis=1), 1e-12).reshape(-1, 1, 1, 1)
    normalized = weight / scales
    values = np.arange(-8, 8, dtype=np.float32) / 7 if is_uniform else _cluster(normalized.ravel())
    bounds = (values[1:] + values[:-1]) / 2
    indices = np.searchsorted(bounds, normalized.ravel())
    tensor.CopyFrom(helper.make_tensor(f"{name}.index", TensorProto.UINT4, weight.shape, _pack(indices), raw=True))
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(values.astype(np.float32), f"{name}.values"),
            numpy_helper.from_array(scales.astype(np.float32), f"{name}.scale"),
        ]
    )
    return [
        helper.make_node("Cast", [f"{name}.index"], [f"{name}.integer"], to=TensorProto.INT32),
        helper.make_node("Gather", [f"{name}.values", f"{name}.integer"], [f"{name}.shared"]),
        helper.make_node("Mul", [f"{name}.shared", f"{name}.scale"], [name]),
    ]


def _halve(tensor: TensorProto) -> NodeProto:
    """Store a tensor as float16; return the node that restores it."""
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}.half"))
    return helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)


def _pack(indices: np.ndarray) -> bytes:
    """Return two indices per byte, the first in the lower half."""
    padded = np.append(indices, np.zeros(len(indices) % 2)).astype(np.uint8).reshape(-1, 2)
    return (padded[:, 0] | padded[:, 1] << 4).tobytes()


def _cluster(weights: np.ndarray) -> np.ndarray:
    """Return `VALUES` sorted cluster centers of numbers -1..1 (Lloyd's algorithm)."""
    centers = np.linspace(-1, 1, VALUES)
    for _ in range(ITERATIONS):
        nearest = np.searchsorted((centers[1:] + centers[:-1]) / 2, weights)
        counts = np.bincount(nearest, minlength=VALUES)
        sums = np.bincount(nearest, weights, minlength=VALUES)
        # an empty cluster keeps its center
        centers = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), centers))
    return centers.astype(np.float32)
