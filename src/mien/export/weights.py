"""Types in which a model file stores its weights; inference computes in single precision with all of them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mien.atomic import write_atomic
from mien.errors import ModelError
from mien.export.format_spec import WeightType
from mien.export.simplify import simplify
from mien.manifest import Manifest, read_manifest, write_manifest

MIN_VALUES = 256
"""Minimum number of values of a tensor that is stored in another type than float32; biases and shapes are smaller."""
MIN_CHANNELS = 8
"""Minimum number of input channels of a convolution that is stored as int8; the first layer and depthwise layers have
fewer, lose more and are small."""


def store_weights(graph: bytes, kind: WeightType) -> bytes:
    """Store the weights of an ONNX graph in another type, each with operators to float32 that a session folds away.

    float16: a weight keeps 11 significant bits, so that it changes by at most 1/2048 of its value, below 6e-5 by at
    most 3e-8. Tensors with values beyond the range of float16 (65504) are unchanged. int8: convolutions get one scale
    per output channel and change by at most 1/254 of the channel's largest weight; other tensors are stored as float16,
    and tensors get short names, which take a tenth of a small file.
    """
    model = read_graph(graph)
    kernels = _large_kernels(model) if kind == "int8" else set()
    casts: list[NodeProto] = []
    for tensor in list(model.graph.initializer):
        if kind == "float32" or tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if tensor.name in kernels:
            casts += _store_int8(model, tensor, values)
        elif values.size >= MIN_VALUES and np.abs(values).max() <= np.finfo(np.float16).max:
            casts.append(_store_float16(tensor, values))
    _prepend(model, casts)
    if kind == "int8":
        shorten_names(model)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def read_graph(graph: bytes) -> ModelProto:
    """Parse an ONNX graph, with weights of any type as float32, and simplify it.

    Raises:
        ModelError: if the graph does not compute in float32.
    """
    model = onnx.load_from_string(graph)
    check_float32(model)
    _expand(model)
    simplify(model)
    return model


def halve_kernels(model: ModelProto) -> None:
    """Store the float32 weights of convolutions and linear layers as float16, but no scales of a quantized graph."""
    kernels = {node.input[1] for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in kernels]
    _prepend(model, [_store_float16(tensor, numpy_helper.to_array(tensor)) for tensor in tensors])


def _store_float16(tensor: TensorProto, values: np.ndarray) -> NodeProto:
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
    return helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)


def _prepend(model: ModelProto, nodes: list[NodeProto]) -> None:
    nodes = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def restore_model(model: Path, output: Path, kind: WeightType) -> Manifest:
    """Write a model file again with weights of another type, and its manifest.

    Calibration and numbers are those of the original weights, which `source` names, until they are measured again.
    """
    manifest = read_manifest(model)
    graph = store_weights(model.read_bytes(), kind)
    source = {**manifest.source, "weights": f"stored as {kind}", "original_sha256": manifest.sha256}
    restored = replace(manifest, name=output.stem, sha256=hashlib.sha256(graph).hexdigest(), source=source)
    write_atomic(output, graph)
    write_manifest(restored, output)
    return restored


def _expand(model: ModelProto) -> None:
    """Replace weights in other types and their operators by float32 tensors."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    stored = dict(tensors)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        values = [tensors[name] for name in node.input if name in tensors]
        is_weight = len(values) == len(node.input) and all(_is_stored_weight(value) for value in values)
        if is_weight and (
            node.op_type == "Mul" or (node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT)
        ):
            product = values[0].astype(np.float32) * (values[1] if len(values) > 1 else 1)
            tensors[node.output[0]] = product.astype(np.float32)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    added = [numpy_helper.from_array(tensors[name], name) for name in tensors if name in used and name not in stored]
    del model.graph.node[:]
    del model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*kept, *added])


def _is_stored_weight(values: np.ndarray) -> bool:
    return values.dtype.name in ("float32", "float16", "int8")


def _large_kernels(model: ModelProto) -> set[str]:
    """Return the names of the convolution weights that are stored as int8."""
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    map_weights = {name for node in model.graph.node if "maps" in node.output for name in node.input}
    return {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.name in weights - map_weights
        and tensor.dims[1] >= MIN_CHANNELS
        and int(np.prod(tensor.dims)) >= MIN_VALUES
    }


def _store_int8(model: ModelProto, tensor: TensorProto, values: np.ndarray) -> list[NodeProto]:
    """Replace a convolution weight (O, I, h, w) by int8 values and a scale per output channel."""
    name = tensor.name
    largest = np.abs(values).reshape(len(values), -1).max(axis=1).reshape(-1, 1, 1, 1)
    scales = np.maximum(largest / 127, 1e-12).astype(np.float32)
    integers = np.rint(values / scales).clip(-127, 127).astype(np.int8)
    tensor.CopyFrom(numpy_helper.from_array(integers, f"{name}.int8"))
    model.graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
    return [
        helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
    ]


def check_float32(model: ModelProto) -> None:
    """Raise `ModelError` if a graph computes in int8 or float16; its weights may be stored in any type."""
    halves = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    for node in model.graph.node:
        is_half = node.op_type != "Cast" and not halves.isdisjoint(node.input)
        if is_half or node.op_type == "QuantizeLinear":
            kind = "float16" if is_half else "int8"
            raise ModelError(f"the model computes in {kind}; use the float32 model that it was made from.")


def shorten_names(model: ModelProto) -> None:
    """Give all tensors but inputs and outputs short names; drop the names of nodes and the shapes of tensors."""
    graph = model.graph
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""
    for name in [tensor.name for tensor in graph.initializer] + [name for node in graph.node for name in node.output]:
        names.setdefault(name, f"t{len(names)}")
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        del node.metadata_props[:]
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    del graph.value_info[:]
