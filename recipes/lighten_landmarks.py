"""Rewrite the graph of the landmark mesh to run about 1.8 times as fast in ONNX Runtime, with the same landmarks.

    git show 55738191:src/mien/assets/face-landmarks.onnx > face_landmarks_478.onnx
    python recipes/lighten_landmarks.py face_landmarks_478.onnx [--asset src/mien/assets/face-landmarks.onnx]

writes the asset, and updates SHA-256 and origin in its manifest. The input is Google's network as converted from
TFLite: every PReLU consists of four element-wise operators, which ONNX Runtime does not run in its blocked layout, so
that it converts the layout before and after each. Changes:

- PReLU, x + (1 - a) relu(-x), becomes two depthwise 1x1 convolutions (by -1, then by 1 - a) and an addition. All of it
  stays in the blocked layout, and relu and addition are fused. The operator PRelu is slower than the four operators
  outside the browser; BatchNormalization in place of the convolutions is as fast there, and slower in the browser.
- Zero padding of channels becomes a convolution with ones on the diagonal, for the same reason.
- Unused outputs are removed, and tensors get short names. Weights are unchanged, stored as before (fp16).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from mien.atomic import write_atomic
from mien.errors import ModelError
from mien.manifest import file_sha256, manifest_path, parse_manifest, write_manifest

ORIGINAL_SHA256 = "878ec23dd27e8068282568fe084ff61a5d90506db10992340495bf52189d23f3"
ASSET = Path(__file__).parents[1] / "src/mien/assets/face-landmarks.onnx"
OUTPUTS = 2
"""Number of outputs that are kept: the landmarks and the presence logit. A third one is unused."""
CHANGES = "graph rewritten for speed by recipes/lighten_landmarks.py, third output left out, weights unchanged"

Constants = dict[str, np.ndarray]
"""Tensors by name, in their stored type; fp16 tensors are cast to fp32 in the graph."""


def lighten(original: ModelProto) -> ModelProto:
    """Return an equivalent graph that ONNX Runtime runs faster."""
    constants = read_constants(original)
    channels = channel_counts(original)
    nodes = [node for node in original.graph.node if node.output[0] not in constants]
    makers = {node.output[0]: node for node in nodes}
    rewritten: list[NodeProto] = []
    for node in nodes:
        if match := match_prelu(node, makers, constants):
            rewritten += prelu(*match, node.output[0], constants)
        elif node.op_type == "Pad":
            rewritten.append(padding(node, channels, constants))
        else:
            rewritten.append(node)
    return assemble(original, needed(rewritten, original), constants)


def read_constants(model: ModelProto) -> Constants:
    """Return all stored tensors, by their own name and by that of their cast to fp32."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def channel_counts(model: ModelProto) -> dict[str, int]:
    """Return the number of channels of every (N, C, H, W) tensor."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: value.type.tensor_type.shape.dim[1].dim_value
        for value in inferred.graph.value_info
        if len(value.type.tensor_type.shape.dim) == 4
    }


def match_prelu(node: NodeProto, makers: dict[str, NodeProto], constants: Constants) -> tuple[str, np.ndarray] | None:
    """Return input and slopes (C,) fp32 of the PReLU r + a (x - r), r = relu(x), that ends in this node, or None."""
    relu, product = (makers.get(name) for name in node.input) if node.op_type == "Add" else (None, None)
    if relu is None or product is None or relu.op_type != "Relu" or product.op_type != "Mul":
        return None
    difference = makers[product.input[0]]
    if difference.op_type != "Sub" or list(difference.input) != [relu.input[0], relu.output[0]]:
        return None
    return relu.input[0], constants[product.input[1]].astype(np.float32).ravel()


def prelu(source: str, slopes: np.ndarray, output: str, constants: Constants) -> Iterator[NodeProto]:
    """Yield the nodes of a PReLU in the form x + (1 - a) relu(-x)."""
    count = len(slopes)
    minus_one = f"minus one, {count}"
    constants[minus_one] = np.full((count, 1, 1, 1), -1, dtype=np.float16)
    constants[f"{output} scale"] = (1 - slopes).reshape(count, 1, 1, 1)
    steps = [f"{output} {step}" for step in ("negated", "rectified", "scaled")]
    yield helper.make_node("Conv", [source, minus_one], steps[:1], group=count, kernel_shape=[1, 1])
    yield helper.make_node("Relu", steps[:1], steps[1:2])
    yield helper.make_node("Conv", [steps[1], f"{output} scale"], steps[2:], group=count, kernel_shape=[1, 1])
    yield helper.make_node("Add", [source, steps[2]], [output])


def padding(node: NodeProto, channels: dict[str, int], constants: Constants) -> NodeProto:
    """Return a convolution that appends channels of zeros, in place of a Pad."""
    before, after = channels[node.input[0]], channels[node.output[0]]
    if constants[node.input[1]].tolist() != [0, 0, 0, 0, 0, after - before, 0, 0]:
        raise ModelError(f"{node.output[0]} pads more than channels at the end.")
    diagonal = f"diagonal, {after}"
    constants[diagonal] = np.eye(after, before, dtype=np.float16).reshape(after, before, 1, 1)
    return helper.make_node("Conv", [node.input[0], diagonal], [node.output[0]], kernel_shape=[1, 1])


def needed(nodes: Sequence[NodeProto], original: ModelProto) -> list[NodeProto]:
    """Return the nodes on which the kept outputs depend, in order."""
    tensors = {output.name for output in original.graph.output[:OUTPUTS]}
    dependencies: list[NodeProto] = []
    for node in reversed(nodes):
        if node.output[0] in tensors:
            tensors.update(node.input)
            dependencies.append(node)
    return dependencies[::-1]


def assemble(original: ModelProto, nodes: Sequence[NodeProto], constants: Constants) -> ModelProto:
    """Build and check a model of the nodes and their constants, with numbered inner tensors."""
    ends = [*original.graph.input, *original.graph.output[:OUTPUTS]]
    names = {end.name: end.name for end in ends}
    stored, casts, renamed = [], [], []
    for name in dict.fromkeys(name for node in nodes for name in node.input if name in constants):
        names[name] = f"w{len(stored)}"
        is_half = constants[name].dtype == np.float16
        stored.append(numpy_helper.from_array(constants[name], names[name] + "h" * is_half))
        if is_half:
            casts.append(helper.make_node("Cast", [stored[-1].name], [names[name]], to=onnx.TensorProto.FLOAT))
    for node in nodes:
        names.setdefault(node.output[0], f"t{len(names)}")
        short = NodeProto(op_type=node.op_type, attribute=node.attribute)
        short.input.extend(names[name] for name in node.input)
        short.output.append(names[node.output[0]])
        renamed.append(short)
    graph = helper.make_graph([*casts, *renamed], "face-landmarks", ends[:1], ends[1:], stored)
    opsets = [opset for opset in original.opset_import if opset.domain == ""]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=original.ir_version, producer_name="mien")
    onnx.checker.check_model(model, full_check=True)
    return model


def write_asset(original: Path, asset: Path) -> None:
    """Write the rewritten model, and update hash and origin in its manifest.

    Raises:
        ModelError: if the original has another hash.
    """
    if (sha256 := file_sha256(original)) != ORIGINAL_SHA256:
        raise ModelError(f"{original}: sha256 {sha256[:12]}..., expected {ORIGINAL_SHA256[:12]}....")
    manifest = parse_manifest(manifest_path(asset).read_bytes())
    write_atomic(asset, lighten(onnx.load(original)).SerializeToString(deterministic=True))
    source = {**manifest.source, "converted_sha256": ORIGINAL_SHA256, "changes": CHANGES}
    write_manifest(replace(manifest, sha256=file_sha256(asset), source=source), asset)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path, help="the converted network, 2576178 bytes")
    parser.add_argument("--asset", type=Path, default=ASSET, help="output file with an existing manifest")
    arguments = parser.parse_args()
    write_asset(arguments.original, arguments.asset)


if __name__ == "__main__":
    main()
