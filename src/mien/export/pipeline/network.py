"""Networks of `.onnx` files inside a traced graph, with their stored weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto
from torch import Tensor, nn

from mien.export.simplify import needed_nodes
from mien.export.weights import check_float32
from mien.runtime import open_session

DOMAIN = "mien"
"""Domain of the operators that stand for networks until `inline_networks` replaces them."""


class OnnxNetwork(nn.Module):
    """Network of a model file as a module; it runs in ONNX Runtime and is traced as one operator.

    Args:
        path: model file with one input.
        output_names: outputs to return, in order.

    Raises:
        ModelError: if the network does not compute in float32.
    """

    def __init__(self, path: Path, output_names: Sequence[str]) -> None:
        super().__init__()
        self.graph = path.read_bytes()
        check_float32(onnx.load_from_string(self.graph))
        self.output_names = tuple(output_names)
        self.operator = path.stem.replace("-", "_").replace(".", "_")
        self._session = open_session(self.graph, device="cpu")
        ranks = {output.name: len(output.shape) for output in self._session.get_outputs()}
        self.output_ranks = [ranks[name] for name in self.output_names]
        self._input = self._session.get_inputs()[0].name

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for an array."""
        return [np.asarray(output) for output in self._session.run(list(self.output_names), {self._input: images})]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for a tensor."""
        return _Call.apply(images, self)  # pyright: ignore[reportReturnType]


class _Call(torch.autograd.Function):
    """Call of an `OnnxNetwork` that the exporter sees as one operator."""

    @staticmethod
    def forward(context: object, images: Tensor, network: OnnxNetwork) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(output) for output in network.run(images.numpy()))

    @staticmethod
    def symbolic(graph: Any, images: torch.Value, network: OnnxNetwork) -> object:
        outputs = graph.op(f"{DOMAIN}::{network.operator}", images, outputs=len(network.output_names))
        values = outputs if isinstance(outputs, tuple) else (outputs,)
        for value, rank in zip(values, network.output_ranks, strict=True):
            value.setType(images.type().with_dtype(torch.float32).with_sizes([None] * rank))
        return outputs


def inline_networks(model: ModelProto, networks: Sequence[OnnxNetwork]) -> None:
    """Replace the operators that stand for networks by the nodes of their graphs; weights are stored once.

    Args:
        model: traced graph; changed in place.
        networks: all networks that it may call.
    """
    by_operator = {network.operator: network for network in networks}
    nodes: list[NodeProto] = []
    weights: dict[str, TensorProto] = {}
    for position, node in enumerate(model.graph.node):
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        called, stored = _renamed(by_operator[node.op_type], node, f"{node.op_type}.{position}")
        nodes += called
        weights.update(stored)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights.values())
    for opset in [opset for opset in model.opset_import if opset.domain == DOMAIN]:
        model.opset_import.remove(opset)
    onnx.checker.check_model(model)


def _renamed(network: OnnxNetwork, call: NodeProto, prefix: str) -> tuple[list[NodeProto], dict[str, TensorProto]]:
    """Return the nodes of a network with the tensors of a call, and its weights by their new names."""
    graph = onnx.load_from_string(network.graph).graph
    names = {"": "", graph.input[0].name: call.input[0]}
    names.update({tensor.name: f"{network.operator}.{tensor.name}" for tensor in graph.initializer})
    names.update(zip(network.output_names, call.output, strict=True))
    nodes = needed_nodes(graph.node, network.output_names)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    used = {name for node in nodes for name in node.input if name in weights}
    for node in nodes:
        node.ClearField("name")
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names.setdefault(name, f"{prefix}.{name}") for name in node.output]
    for name in used:
        weights[name].name = names[name]
    return nodes, {names[name]: weights[name] for name in used}
