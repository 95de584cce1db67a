"""Model files with a corrected last layer."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.adaptation.correction import Correction
from mien.atomic import write_atomic
from mien.errors import MissingExtraError, ModelError
from mien.manifest import Manifest, file_sha256, read_manifest, write_manifest

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def check_packages(task: str) -> None:
    """Raise `MissingExtraError` for a task unless onnx and SciPy are installed, so that nothing is computed in vain."""
    for package in ("onnx", "scipy"):
        if find_spec(package) is None:
            raise MissingExtraError(f"{task} ({package} is missing)", "adapt")


def check_last_layer(model: Path) -> None:
    """Raise `ModelError` unless `write_corrected` can change a model, so that nothing is computed in vain."""
    import onnx

    _last_layer(onnx.load(model))


def write_corrected(model: Path, correction: Correction, manifest: Manifest, output: Path) -> Manifest:
    """Write a model whose last layer includes a correction, and its manifest; return it with the file's hash.

    Args:
        model: file of the model that is corrected.
        correction: of its calibrated logits; the last layer's weights are divided by the old temperature.
        manifest: of the new model.
        output: file to write.

    Raises:
        ModelError: see `check_last_layer`.
    """
    import onnx

    graph = onnx.load(model)
    scale = correction.scale / read_manifest(model).temperature
    weight, bias = _last_layer(graph)
    corrected = scale * weight + correction.weight
    _replace_outputs(graph, corrected, scale * bias + correction.bias)
    onnx.checker.check_model(graph)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, graph.SerializeToString())
    written = replace(manifest, sha256=file_sha256(output))
    write_manifest(written, output)
    return written


def _producer(graph: ModelProto, output: str) -> NodeProto | None:
    return next((node for node in graph.graph.node if output in node.output), None)


def _last_layer(graph: ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (C, D) and bias (C,) of the layer that computes the logits."""
    node = _producer(graph, "logits")
    if node is not None and node.op_type == "Cast":
        raise ModelError("the model computes in float16; adapt the float32 model that it was made from.")
    if node is None or node.op_type != "Gemm" or len(node.input) != 3:
        raise ModelError("the last layer of the model is not linear; export it again with this version of mien.")
    weight, bias = (_constant(graph, name) for name in node.input[1:])
    is_transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return (weight if is_transposed else weight.T), bias


def _constant(graph: ModelProto, name: str) -> np.ndarray:
    """Return a stored tensor, also one that is stored in half precision and cast."""
    from onnx import numpy_helper

    node = _producer(graph, name)
    stored = node.input[0] if node is not None and node.op_type == "Cast" else name
    for tensor in graph.graph.initializer:
        if tensor.name == stored:
            return numpy_helper.to_array(tensor).astype(np.float64)
    raise ModelError(f"the last layer's {name} is not stored in the model file.")


def _replace_outputs(graph: ModelProto, weight: np.ndarray, bias: np.ndarray) -> None:
    """Replace the layers of `logits` and `maps` by ones with other weights."""
    from onnx import helper, numpy_helper

    logits, maps = _producer(graph, "logits"), _producer(graph, "maps")
    assert logits is not None
    tensors = {"adapted.weight": weight, "adapted.bias": bias}
    layer = helper.make_node("Gemm", [logits.input[0], *tensors], ["logits"], transB=1)
    logits.CopyFrom(layer)
    if maps is not None and maps.op_type == "Conv":
        tensors["adapted.maps"] = weight[:, :, None, None]
        maps.CopyFrom(helper.make_node("Conv", [maps.input[0], "adapted.maps"], ["maps"]))
    # without the weights of the old layers, which have the same names if the model was adapted before
    used = {name for node in graph.graph.node for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used and tensor.name not in tensors]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    for name, values in tensors.items():
        graph.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
