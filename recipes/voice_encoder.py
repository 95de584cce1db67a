"""The encoder of the voice model as a graph: the first two blocks of Smart Turn's Whisper encoder, for any length.

Smart Turn v3.2 (Daily, BSD 2-Clause; `smart-turn-v3.2-cpu.onnx` in the PyPI wheel pipecat-ai 1.14.0) is the encoder of
Whisper Tiny (OpenAI, MIT), fine-tuned to find the end of a turn and quantized to int8. Its int8 weights are kept as
they are and become float32 when the graph is loaded, so that every CPU computes the same; its activations are not
quantized.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = 2
WIDTH, HEADS, MELS = 384, 6, 80
_PREFIX = "inner.encoder."
_DEQUANTIZED = "_DequantizeLinear_Output"


class SmartTurnWeights:
    """Weights of the quantized graph by the names of the original network."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self._constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        self._producers = {output: node for node in graph.node for output in node.output}
        self._nodes = list(graph.node)

    def named(self, name: str) -> str:
        """Return the tensor of a weight that kept its name: a convolution, bias, layer norm or position."""
        full = _PREFIX + name
        return full + _DEQUANTIZED if full + _DEQUANTIZED in self._producers else full

    def multiplied(self, name: str) -> str:
        """Return the weight of a linear layer, which lost its name: it is found by the bias that is added."""
        bias = self.named(f"{name}.bias")
        added = next(node for node in self._nodes if node.op_type == "Add" and bias in node.input)
        return self._source(next(tensor for tensor in added.input if tensor != bias)).input[1]

    def key(self, block: str) -> str:
        """Return the weight of the keys, which have no bias: the third product of the input of queries and values."""
        known = [self.multiplied(f"{block}.self_attn.{part}_proj") for part in ("q", "v")]
        products = [node for node in self._nodes if node.op_type == "MatMul"]
        query = next(node for node in products if node.input[1] == known[0])
        normed = self._source(query.input[0])
        same = [node.input[1] for node in products if self._source(node.input[0]) is normed]
        (weight,) = set(same) - set(known)
        return weight

    def quantized(self, tensor: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return int8 values and their scale, which broadcasts, or float32 values and None."""
        if tensor in self._constants:
            return self._constants[tensor].astype(np.float32), None
        node = self._producers[tensor]
        values, scale = (self._constants[name] for name in node.input[:2])
        assert not self._constants[node.input[2]].any(), "expected a symmetric quantization"
        axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
        shape = [1] * values.ndim
        if scale.size > 1:
            shape[axis] = -1
        return values, scale.reshape(shape if scale.size > 1 else ()).astype(np.float32)

    def _source(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that computed a tensor, before its quantization."""
        node = self._producers.get(tensor)
        while node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node = self._producers.get(node.input[0])
        return node


class GraphBuilder:
    """Nodes and initializers of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add an initializer, once."""
        if all(item.name != name for item in self.initializers):
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str, values: np.ndarray, scale: np.ndarray | None) -> str:
        """Add a weight; int8 values are multiplied by their scale when the graph is loaded."""
        if scale is None:
            return self.constant(name, values)
        self.constant(f"{name}.int8", values)
        self.constant(f"{name}.scale", scale)
        cast = self.add("Cast", [f"{name}.int8"], f"{name}.cast", to=TensorProto.FLOAT)
        return self.add("Mul", [cast, f"{name}.scale"], name)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node with one output and return its name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def add_encoder(builder: GraphBuilder, path: Path) -> str:
    """Add the encoder from `log_mel` (N, 80, T) to `embedding` (N, 1536): mean and deviation of each block."""
    weights = SmartTurnWeights(path)

    def weight(name: str, tensor: str) -> str:
        return builder.weight(name, *weights.quantized(tensor))

    x = "log_mel"
    for number, stride in ((1, 1), (2, 2)):
        parameters = [
            weight(f"conv{number}.{kind}", weights.named(f"conv{number}.{kind}")) for kind in ("weight", "bias")
        ]
        x = builder.add("Conv", [x, *parameters], f"conv{number}", kernel_shape=[3], pads=[1, 1], strides=[stride])
        x = builder.add("Gelu", [x], f"gelu{number}")
    x = builder.add("Transpose", [x], "frames", perm=[0, 2, 1])
    length = builder.add("Shape", [x], "length", start=1, end=2)
    zero = builder.constant("zero", np.array([0]))
    positions = weight("positions", weights.named("embed_positions.weight"))
    x = builder.add("Add", [x, builder.add("Slice", [positions, zero, length, zero], "position")], "embedded")
    pooled = []
    for number in range(BLOCKS):
        x = _add_block(builder, weights, weight, f"layers.{number}", x)
        pooled += _pool(builder, x, f"block{number + 1}")
    return builder.add("Concat", pooled, "embedding", axis=1)


def _add_block(
    builder: GraphBuilder, weights: SmartTurnWeights, weight: Callable[[str, str], str], name: str, x: str
) -> str:
    """Add a transformer block: attention and a network of two layers, each with a layer norm before it."""
    attention = f"{name}.self_attn"

    def linear(part: str, tensor: str, inputs: str, *, has_bias: bool = True) -> str:
        product = builder.add("MatMul", [inputs, weight(f"{part}.weight", tensor)], f"{part}.product")
        if not has_bias:
            return product
        return builder.add("Add", [product, weight(f"{part}.bias", weights.named(f"{part}.bias"))], part)

    def norm(part: str, inputs: str) -> str:
        parameters = [weight(f"{part}.{kind}", weights.named(f"{part}.{kind}")) for kind in ("weight", "bias")]
        return builder.add("LayerNormalization", [inputs, *parameters], part, epsilon=1e-5)

    normed = norm(f"{name}.self_attn_layer_norm", x)
    query, value = (
        linear(f"{attention}.{part}", weights.multiplied(f"{attention}.{part}"), normed)
        for part in ("q_proj", "v_proj")
    )
    key = linear(f"{attention}.k_proj", weights.key(name), normed, has_bias=False)
    split = builder.constant("split", np.array([0, 0, HEADS, WIDTH // HEADS]))
    orders = {query: [0, 2, 1, 3], key: [0, 2, 3, 1], value: [0, 2, 1, 3]}
    query, key, value = (
        builder.add("Transpose", [builder.add("Reshape", [part, split], f"{part}.heads")], f"{part}.split", perm=order)
        for part, order in orders.items()
    )
    scale = builder.constant("scale", np.float32((WIDTH // HEADS) ** -0.5))
    scores = builder.add("MatMul", [builder.add("Mul", [query, scale], f"{query}.scaled"), key], f"{attention}.scores")
    shares = builder.add("Softmax", [scores], f"{attention}.shares", axis=-1)
    mixed = builder.add("MatMul", [shares, value], f"{attention}.mixed")
    mixed = builder.add("Transpose", [mixed], f"{attention}.merged", perm=[0, 2, 1, 3])
    mixed = builder.add("Reshape", [mixed, builder.constant("merge", np.array([0, 0, WIDTH]))], f"{attention}.flat")
    output = linear(f"{attention}.out_proj", weights.multiplied(f"{attention}.out_proj"), mixed)
    x = builder.add("Add", [x, output], f"{attention}.residual")
    hidden = linear(f"{name}.fc1", weights.multiplied(f"{name}.fc1"), norm(f"{name}.final_layer_norm", x))
    hidden = builder.add("Gelu", [hidden], f"{name}.gelu")
    return builder.add("Add", [x, linear(f"{name}.fc2", weights.multiplied(f"{name}.fc2"), hidden)], f"{name}.output")


def _pool(builder: GraphBuilder, x: str, name: str) -> list[str]:
    """Return mean and standard deviation over time, each (N, 384)."""
    axis = builder.constant("time axis", np.array([1]))
    mean = builder.add("ReduceMean", [x, axis], f"{name}.mean", keepdims=1)
    difference = builder.add("Sub", [x, mean], f"{name}.difference")
    square = builder.add("Mul", [difference, difference], f"{name}.square")
    deviation = builder.add(
        "Sqrt", [builder.add("ReduceMean", [square, axis], f"{name}.variance", keepdims=0)], f"{name}.deviation"
    )
    return [builder.add("Squeeze", [mean, axis], f"{name}.center"), deviation]


def make_graph(builder: GraphBuilder, outputs: dict[str, list[int | str]]) -> bytes:
    """Return the serialized graph from `log_mel` to the outputs with their shapes."""
    inputs = [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, ["N", MELS, "T"])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(builder.nodes, "voice", inputs, results, builder.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9, producer_name="mien")
    onnx.checker.check_model(model)
    return model.SerializeToString()
