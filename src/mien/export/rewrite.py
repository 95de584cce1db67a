"""Rewriting of operators that ONNX Runtime runs slowly.

On x86, ONNX Runtime runs convolutions on blocks of 8 or 16 channels (NCHWc). It converts the feature map back and forth
around an operator without that layout, such as Pad or PRelu.
"""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, helper

Tensors = dict[str, np.ndarray]


class Rewriter:
    """Rules that replace a node by equivalent ones; constants that they need are added to `constants`.

    Args:
        nodes: nodes of a graph, in order.
        constants: stored tensors by name.
        channels: number of channels of every tensor that is padded.
    """

    def __init__(self, nodes: Sequence[NodeProto], constants: Tensors, channels: dict[str, int]) -> None:
        self.constants = constants
        self.channels = channels
        self.makers = {name: node for node in nodes for name in node.output}
        self.rules: dict[str, Callable[[NodeProto], list[NodeProto] | None]] = {
            "Conv": self._convolution,
            "Pad": self._padding,
            "PRelu": self._prelu,
            "ReduceSum": self._sum,
        }

    def rewrite(self, node: NodeProto) -> list[NodeProto]:
        """Return the nodes that replace a node: itself if no rule applies."""
        rule = self.rules.get(node.op_type)
        return (rule(node) if rule else None) or [node]

    def _convolution(self, node: NodeProto) -> list[NodeProto] | None:
        """Let a convolution pad its input itself."""
        pad = self.makers.get(node.input[0])
        borders = None if pad is None else self._zero_borders(pad)
        if pad is None or borders is None or borders[:2].any():
            return None
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        own = np.array(attributes.get("pads", [0, 0, 0, 0]))
        attributes["pads"] = (own + borders[2:].ravel(order="F")).tolist()
        return [helper.make_node("Conv", [pad.input[0], *node.input[1:]], node.output, **attributes)]

    def _padding(self, node: NodeProto) -> list[NodeProto] | None:
        """Drop a Pad by nothing; append channels of zeros by a convolution."""
        borders = self._zero_borders(node)
        if borders is None:
            return None
        if not borders.any():
            return [helper.make_node("Identity", node.input[:1], node.output)]
        before = self.channels[node.input[0]]
        added = borders[1, 1]
        if borders.sum() != added:
            return None
        kernel = f"{node.output[0]} kernel"
        self.constants[kernel] = np.eye(before + added, before, dtype=np.float32)[:, :, None, None]
        return [helper.make_node("Conv", [node.input[0], kernel], node.output, kernel_shape=[1, 1])]

    def _zero_borders(self, node: NodeProto) -> np.ndarray | None:
        """Return the borders (4, 2) that a Pad adds before and after each axis; None for other nodes and values."""
        if node.op_type != "Pad" or any(a.name == "mode" and a.s != b"constant" for a in node.attribute):
            return None
        borders = self.constants.get(node.input[1])
        value = self.constants.get(node.input[2], np.ones(1)) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        if borders is None or borders.shape != (8,) or value.any() or (borders < 0).any():
            return None
        return borders.reshape(2, 4).T

    def _prelu(self, node: NodeProto) -> list[NodeProto] | None:
        """Compute a PReLU with slopes a (C, 1, 1) as x + (1 - a) relu(-x), by convolutions of single channels."""
        source, slope = node.input
        slopes = self.constants.get(slope)
        if slopes is None or slopes.ndim != 3 or not 1 < len(slopes) == slopes.size:
            return None
        count = len(slopes)
        output = node.output[0]
        negated, rectified, scaled = (f"{output} {step}" for step in ("negated", "rectified", "scaled"))
        minus_one, scale = f"minus one, {count}", f"{output} scale"
        self.constants[minus_one] = np.full((count, 1, 1, 1), -1, dtype=np.float32)
        self.constants[scale] = (1 - slopes).reshape(count, 1, 1, 1)
        return [
            helper.make_node("Conv", [source, minus_one], [negated], group=count, kernel_shape=[1, 1]),
            helper.make_node("Relu", [negated], [rectified]),
            helper.make_node("Conv", [rectified, scale], [scaled], group=count, kernel_shape=[1, 1]),
            helper.make_node("Add", [source, scaled], [output]),
        ]

    def _sum(self, node: NodeProto) -> list[NodeProto] | None:
        """Add stacked tensors without stacking them."""
        axes = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        maker = self.makers.get(node.input[0])
        if axes is None or axes.tolist() != [0] or maker is None or maker.op_type != "Concat":
            return None
        stacked = [self.makers.get(name) for name in maker.input]
        if not all(part is not None and part.op_type == "Unsqueeze" for part in stacked):
            return None
        return [helper.make_node("Sum", [part.input[0] for part in stacked if part], node.output)]
