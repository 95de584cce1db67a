"""Rewrite the graph of the face detector to take pixels as they are and to run faster, with the same faces.

    python recipes/lighten_detector.py tests/reference/yunet.onnx [--asset src/mien/assets/face-detector.onnx]

writes the asset, and updates SHA-256, input and origin in its manifest. The input is YuNet of the OpenCV model zoo with
dynamic height and width. Changes:

- The input is (N, H, W, 3) uint8 RGB. The first convolution reads the interleaved channels of a row as one row of
  3 W values, with a kernel of 3 x 9 and a stride of 2 x 6, so that no layout is converted, and takes RGB for BGR.
- At each of the three strides, the four heads become one of 16 channels, the block size of ONNX Runtime's layout.
- The 12 outputs become two, over the cells of strides 8, 16 and 32 in this order, row by row: `confidences` (N, cells)
  and `cells` (N, cells, 16), each with the logits of class and objectness, the box (4) and the landmarks (10).
- Weights are unchanged.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mien.atomic import write_atomic
from mien.errors import ModelError
from mien.manifest import InputSpec, file_sha256, manifest_path, parse_manifest, write_manifest

ORIGINAL_SHA256 = "cb3ece9f3d9249ee9cef68df1333746130a5ad9c00f07f9f21d7272bee70dbcf"
ASSET = Path(__file__).parents[1] / "src/mien/assets/face-detector.onnx"
HEADS = ("cls", "obj", "bbox", "kps")
FEATURES = {8: "256", 16: "246", 32: "236"}
"""Tensor before the heads, by stride."""
CHANGES = "graph rewritten for pixels and speed by recipes/lighten_detector.py, weights unchanged"

Constants = dict[str, np.ndarray]


def lighten(original: ModelProto) -> ModelProto:
    """Return an equivalent graph that takes pixels and runs faster."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in original.graph.initializer}
    first, *others = original.graph.node
    trunk = [node for node in others if node.op_type not in ("Transpose", "Reshape", "Sigmoid") and not is_head(node)]
    heads = [node for index, stride in enumerate(FEATURES) for node in head(index, stride, constants)]
    nodes = [*stem(first, constants), *trunk, *heads, *ends()]
    constants["rows"] = np.array([0, 0, -1])
    constants["plane"] = np.array([1])
    constants["vectors"] = np.array([0, -1, 16])
    constants["zero"] = np.array([0])
    constants["two"] = np.array([2])
    needed = {name for node in nodes for name in node.input}
    stored = [numpy_helper.from_array(array, name) for name, array in constants.items() if name in needed]
    pixels = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "height", "width", 3])
    outputs = [
        helper.make_tensor_value_info("confidences", TensorProto.FLOAT, ["N", "cells"]),
        helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["N", "cells", 16]),
    ]
    graph = helper.make_graph(nodes, "face-detector", [pixels], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="mien")
    onnx.checker.check_model(model, full_check=True)
    return model


def is_head(node: NodeProto) -> bool:
    """Return whether a node is a convolution of a head."""
    return node.op_type == "Conv" and node.input[1].startswith("bbox_head.")


def stem(first: NodeProto, constants: Constants) -> Iterator[NodeProto]:
    """Yield the first convolution, over rows of interleaved RGB, and the nodes before it."""
    kernel = constants[first.input[1]]
    constants["stem"] = kernel[:, ::-1].transpose(0, 2, 3, 1).reshape(len(kernel), 1, 3, 9)
    yield helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT)
    yield helper.make_node("Reshape", ["pixels", "rows"], ["interleaved"])
    yield helper.make_node("Unsqueeze", ["interleaved", "plane"], ["planes"])
    sizes = {"kernel_shape": [3, 9], "strides": [2, 6], "pads": [1, 3, 1, 3]}
    yield helper.make_node("Conv", ["planes", "stem", first.input[2]], first.output, **sizes)


def head(index: int, stride: int, constants: Constants) -> Iterator[NodeProto]:
    """Yield the nodes that compute the cells (N, H / stride * W / stride, 16) of one stride."""
    for layer in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            parts = [constants[f"bbox_head.multi_level_{name}.{index}.{layer}.{kind}"] for name in HEADS]
            constants[f"head.{stride}.{layer}.{kind}"] = np.concatenate(parts)
    steps = [f"head.{stride}.{step}" for step in ("reduced", "filtered", "last", "cells")]
    first, second = ([f"head.{stride}.{layer}.weight", f"head.{stride}.{layer}.bias"] for layer in ("conv1", "conv2"))
    yield helper.make_node("Conv", [FEATURES[stride], *first], steps[:1], kernel_shape=[1, 1])
    yield helper.make_node("Conv", [steps[0], *second], steps[1:2], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=16)
    yield helper.make_node("Transpose", steps[1:2], steps[2:3], perm=[0, 2, 3, 1])
    yield helper.make_node("Reshape", [steps[2], "vectors"], steps[3:])


def ends() -> Iterator[NodeProto]:
    """Yield the nodes that compute the outputs from the cells of each stride."""
    yield helper.make_node("Concat", [f"head.{stride}.cells" for stride in FEATURES], ["cells"], axis=1)
    yield helper.make_node("Slice", ["cells", "zero", "two", "two"], ["logits"])
    yield helper.make_node("Sigmoid", ["logits"], ["probabilities"])
    yield helper.make_node("ReduceProd", ["probabilities"], ["products"], axes=[2], keepdims=0)
    yield helper.make_node("Sqrt", ["products"], ["confidences"])


def write_asset(original: Path, asset: Path) -> None:
    """Write the rewritten model, and update hash, input and origin in its manifest.

    Raises:
        ModelError: if the original has another hash.
    """
    if (sha256 := file_sha256(original)) != ORIGINAL_SHA256:
        raise ModelError(f"{original}: sha256 {sha256[:12]}..., expected {ORIGINAL_SHA256[:12]}....")
    manifest = parse_manifest(manifest_path(asset).read_bytes())
    write_atomic(asset, lighten(onnx.load(original)).SerializeToString(deterministic=True))
    source = {**manifest.source, "converted_sha256": ORIGINAL_SHA256, "changes": CHANGES}
    pixels = InputSpec(size=0, channels="RGB", layout="NHWC", range=(0.0, 255.0))
    write_manifest(replace(manifest, sha256=file_sha256(asset), input=pixels, source=source), asset)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path, help="the published network, 229749 bytes")
    parser.add_argument("--asset", type=Path, default=ASSET, help="output file with an existing manifest")
    arguments = parser.parse_args()
    write_asset(arguments.original, arguments.asset)


if __name__ == "__main__":
    main()
