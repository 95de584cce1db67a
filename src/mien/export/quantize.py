"""Static quantization of an expression model: weights and feature maps as int8, with ranges from training faces."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from mien import metrics
from mien.atomic import write_atomic
from mien.datasets.index import Index
from mien.errors import DatasetError, InputError
from mien.export.face_crops import draw_crops
from mien.export.weights import halve_kernels, read_graph, shorten_names
from mien.manifest import Manifest, read_manifest, write_manifest
from mien.progress import Progress
from mien.runtime import open_session

OPERATORS = (
    "Add", "Clip", "Concat", "Conv", "GlobalAveragePool", "Mul", "Pad", "Relu", "Reshape", "Sigmoid",
    "Slice", "Sum", "Unsqueeze",
)  # fmt: skip
"""Operators that are computed in int8; others stay in float32, as do the last layers."""
FLOAT_LAYERS = (1, 3, 5, 9, 13)
"""Numbers of first convolutions that stay in float32; the smallest is taken that keeps `MIN_AGREEMENT`."""
MIN_AGREEMENT = 0.99
"""Minimum share of the calibration faces with the same label as before."""
BATCH = 20


def quantize_model(
    model: Path, output: Path, index: Index, *, faces: int = 600, progress: Progress | None = None
) -> Manifest:
    """Write a model file that computes in int8, and its manifest, whose calibration is not that of the new file yet.

    Args:
        model: an expression model that computes in float32.
        output: file to write; the name in the manifest is that of the file without `.int8`.
        index: training split of a data set.
        faces: number of its faces, drawn at random, that give the ranges of feature maps.
        progress: called with the number of images.

    Raises:
        InputError: if the number of faces is not positive.
        DatasetError: if no face can be read.
        ModelError: if the model computes in int8 already.
    """
    if faces < 1:
        raise InputError(f"calibration_faces is {faces}; expected at least 1.")
    drawn = draw_crops(model, index, faces, progress=progress)
    if not drawn:
        raise DatasetError(f"{index.root}: no training face can be read; check the images with `mien data check`.")
    crops = np.stack(drawn)
    graph, layers = quantize_graph(model.read_bytes(), crops)
    manifest = read_manifest(model)
    source = {
        **{key: value for key, value in manifest.source.items() if key != "weights"},
        "quantization": f"int8, ranges from {len(crops)} faces of {index.name}/{index.split}",
        "float_layers": layers,
    }
    name = output.name.removesuffix(".onnx").removesuffix(".int8")
    sha256 = hashlib.sha256(graph).hexdigest()
    quantized = replace(manifest, name=name, sha256=sha256, metrics={}, source=source)
    write_atomic(output, graph)
    write_manifest(quantized, output)
    return quantized


def quantize_graph(graph: bytes, crops: np.ndarray) -> tuple[bytes, int]:
    """Return a graph that computes in int8, and the number of its first convolutions that stay in float32.

    Weights are signed, with a scale per output channel; feature maps are unsigned, with the range that they have on the
    calibration faces. In the format QDQ: every tensor is quantized and restored where it is used, and a session fuses
    these operators with the layers.

    Args:
        graph: an expression model, with weights of any type.
        crops: (N, S, S, 3) uint8, inputs of the model for training faces.
    """
    model = read_graph(graph)
    for node in model.graph.node:
        node.name = node.output[0]
    _separate_weights(model)
    ranges = _ranges(model, crops)
    expected = _labels(model.SerializeToString(), crops)
    quantized, layers = b"", 0
    for layers in FLOAT_LAYERS:
        quantized = _quantize(model, ranges, _float_nodes(model, layers))
        if (_labels(quantized, crops) == expected).mean() >= MIN_AGREEMENT:
            break
    return quantized, layers


def _separate_weights(model: ModelProto) -> None:
    """Give every convolution weights of its own.

    ONNX Runtime 1.32 cannot open a graph with shared int8 weights where it converts them to unsigned ones: on x86 CPUs
    without int8 dot products, see `mien.sessions`.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    used: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Conv" and (weights := tensors.get(node.input[1])):
            if weights.name in used:
                copy = model.graph.initializer.add()
                copy.CopyFrom(weights)
                copy.name = f"{weights.name} of {node.name}"
                node.input[1] = copy.name
            used.add(weights.name)


def _batches(crops: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(crops), BATCH):
        batch = crops[start : start + BATCH].transpose(0, 3, 1, 2)
        yield {"images": np.ascontiguousarray(batch, dtype=np.float32)}


def _labels(graph: bytes, crops: np.ndarray) -> np.ndarray:
    session = open_session(graph, device="cpu")
    logits = [np.asarray(session.run(["logits"], batch)[0]) for batch in _batches(crops)]
    return metrics.choose_labels(np.concatenate(logits))


def _ranges(model: ModelProto, crops: np.ndarray) -> TensorsData:
    """Return the minimum and maximum of every tensor over all faces."""
    extended = ModelProto()
    extended.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    names = [node.output[0] for node in model.graph.node]
    extended.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    session = open_session(extended.SerializeToString(), device="cpu")
    lowest = np.full(len(names), np.inf)
    highest = np.full(len(names), -np.inf)
    for batch in _batches(crops):
        values = [np.asarray(value) for value in session.run(names, batch)]
        lowest = np.minimum(lowest, [value.min() for value in values])
        highest = np.maximum(highest, [value.max() for value in values])
    pairs = zip(names, lowest.astype(np.float32), highest.astype(np.float32), strict=True)
    return TensorsData(CalibrationMethod.MinMax, {name: (np.array(low), np.array(high)) for name, low, high in pairs})


def _float_nodes(model: ModelProto, layers: int) -> list[str]:
    """Return the names of the nodes that stay in float32: before the first quantized layer, and behind the last map."""
    names = [node.name for node in model.graph.node]
    convolutions = [place for place, node in enumerate(model.graph.node) if node.op_type == "Conv"]
    outputs = {value.name for value in model.graph.output}
    behind = [node.name for node in model.graph.node if outputs.intersection(node.output)]
    first = convolutions[layers] if layers < len(convolutions) else len(names)
    return [*names[:first], *behind]


def _quantize(model: ModelProto, ranges: TensorsData, float_nodes: Sequence[str]) -> bytes:
    inferred = onnx.shape_inference.infer_shapes(model)
    quantizer = QDQQuantizer(
        inferred,
        True,  # per channel
        False,  # reduce_range
        QuantType.QInt8,
        QuantType.QUInt8,
        ranges,
        [],
        list(float_nodes),
        list(OPERATORS),
        {},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    halve_kernels(quantized)
    shorten_names(quantized)
    onnx.checker.check_model(quantized)
    return quantized.SerializeToString()
