"""Rewrite the graph of the landmark mesh to take pixels and to run faster in ONNX Runtime, with the same landmarks.

    git show 55738191:src/mien/assets/face-landmarks.onnx > face_landmarks_478.onnx
    python recipes/lighten_landmarks.py face_landmarks_478.onnx [--asset src/mien/assets/face-landmarks.onnx]

writes the asset, and updates SHA-256, input and origin in its manifest. The input is Google's network as converted
from TFLite: every PReLU consists of four element-wise operators, which ONNX Runtime does not run in its blocked layout,
so that it converts the layout before and after each. Changes:

- The input is (N, 256, 256, 3) uint8 RGB. The first convolution reads the interleaved channels of a row as one row of
  768 values, with a kernel of 3 x 9 and a stride of 2 x 6, so that no layout is converted.
- PReLU, x + (1 - a) relu(-x), becomes two depthwise 1x1 convolutions (by -1, then by 1 - a) and an addition. All of it
  stays in the blocked layout, and relu and addition are fused. The operator PRelu is slower than the four operators
  outside the browser; BatchNormalization in place of the convolutions is as fast there, and slower in the browser.
- In blocks of 8 channels, half a block of the layout, PReLU is folded: one convolution returns relu(x) and relu(-x),
  the next filters the first by its kernels and the second by -a times them, the last adds both. With AVX-512 it
  takes 11 % off the network's time; in the browser, which has no blocked layout, it adds 13 %.
- Zero padding of channels becomes a convolution with ones on the diagonal, for the same reason.
- Unused outputs are removed, and tensors get short names. Weights are unchanged, stored as before (fp16); ONNX Runtime
  computes the folded ones when it opens the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mien.atomic import write_atomic
from mien.errors import ModelError
from mien.manifest import InputSpec, file_sha256, manifest_path, parse_manifest, write_manifest

ORIGINAL_SHA256 = "878ec23dd27e8068282568fe084ff61a5d90506db10992340495bf52189d23f3"
ASSET = Path(__file__).parents[1] / "src/mien/assets/face-landmarks.onnx"
OUTPUTS = 2
"""Number of outputs that are kept: the landmarks and the presence logit. A third one is unused."""
CHANGES = "graph rewritten for speed by recipes/lighten_landmarks.py, third output left out, weights unchanged"

HALF_BLOCK = 8
"""Number of channels that is half a block of ONNX Runtime's layout on CPUs with AVX-512."""

Constants = dict[str, np.ndarray]
"""Tensors by name, in their stored type; fp16 tensors are cast to fp32 in the graph."""


def lighten(original: ModelProto) -> ModelProto:
    """Return an equivalent graph that takes pixels and that ONNX Runtime runs faster."""
    constants = read_constants(original)
    channels = channel_counts(original)
    nodes = [node for node in original.graph.node if node.output[0] not in constants]
    makers = {node.output[0]: node for node in nodes}
    pixels = original.graph.input[0].name
    rewritten: list[NodeProto] = []
    for node in nodes:
        if node.op_type == "Conv" and makers[node.input[0]].op_type == "Transpose":
            rewritten += stem(pixels, node, constants)
        elif node.op_type == "Conv" and HALF_BLOCK in constants[node.input[1]].shape[:2]:
            rewritten += folded(node, makers, constants)
        elif match := match_prelu(node, makers, constants):
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


def stem(pixels: str, first: NodeProto, constants: Constants) -> Iterator[NodeProto]:
    """Yield the first convolution, over rows of interleaved RGB 0..255, and the nodes before it."""
    constants["rows"] = np.array([0, 0, -1])
    constants["plane"] = np.array([1])
    constants["stem shape"] = np.array([len(constants[first.input[1]]), 1, 3, 9])
    constants["white"] = np.array(255, dtype=np.float32)
    yield helper.make_node("Transpose", [first.input[1]], ["interleaved kernel"], perm=[0, 2, 3, 1])
    yield helper.make_node("Reshape", ["interleaved kernel", "stem shape"], ["kernel"])
    yield helper.make_node("Div", ["kernel", "white"], ["scaled kernel"])
    yield helper.make_node("Cast", [pixels], ["values"], to=TensorProto.FLOAT)
    yield helper.make_node("Reshape", ["values", "rows"], ["interleaved"])
    yield helper.make_node("Unsqueeze", ["interleaved", "plane"], ["planes"])
    sizes = {"kernel_shape": [3, 9], "strides": [2, 6], "pads": [0, 0, 1, 3]}
    yield helper.make_node("Conv", ["planes", "scaled kernel", first.input[2]], first.output, **sizes)


def folded(node: NodeProto, makers: dict[str, NodeProto], constants: Constants) -> Iterator[NodeProto]:
    """Yield a convolution before or after a folded PReLU of 8 channels, or the one that adds its two parts up."""
    source, kernel, bias = node.input
    output = node.output[0]
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernels, biases, second, second_bias = (f"{output} {part}" for part in ("kernels", "biases", "second", "bias"))
    if len(constants[kernel]) > HALF_BLOCK:
        yield helper.make_node("Concat", [kernel, kernel], [kernels], axis=1)
        yield helper.make_node("Conv", [f"{source} twice", kernels, bias], [output], **attributes)
        return
    activation = match_prelu(makers[source], makers, constants)
    is_first = constants[kernel].shape[1] > 1
    if is_first or activation is None:
        yield helper.make_node("Neg", [kernel], [second])
        yield helper.make_node("Neg", [bias], [second_bias])
    else:
        source = f"{activation[0]} twice"
        attributes["group"] = 2 * HALF_BLOCK
        constants[f"{output} slopes"] = activation[1].astype(np.float16).reshape(-1, 1, 1, 1)
        constants[second_bias] = np.zeros(HALF_BLOCK, dtype=np.float16)
        yield helper.make_node("Neg", [f"{output} slopes"], [f"{output} factors"])
        yield helper.make_node("Mul", [kernel, f"{output} factors"], [second])
    yield helper.make_node("Concat", [kernel, second], [kernels], axis=0)
    yield helper.make_node("Concat", [bias, second_bias], [biases], axis=0)
    result = f"{output} both" if is_first else f"{output} twice"
    yield helper.make_node("Conv", [source, kernels, biases], [result], **attributes)
    if is_first:
        yield helper.make_node("Relu", [result], [f"{output} twice"])


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
    pixels = helper.make_tensor_value_info(ends[0].name, TensorProto.UINT8, ["N", 256, 256, 3])
    graph = helper.make_graph([*casts, *renamed], "face-landmarks", [pixels], ends[1:], stored)
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
    pixels = InputSpec(size=256, channels="RGB", layout="NHWC", range=(0.0, 255.0))
    write_manifest(replace(manifest, sha256=file_sha256(asset), input=pixels, source=source), asset)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path, help="the converted network, 2576178 bytes")
    parser.add_argument("--asset", type=Path, default=ASSET, help="output file with an existing manifest")
    arguments = parser.parse_args()
    write_asset(arguments.original, arguments.asset)


if __name__ == "__main__":
    main()
