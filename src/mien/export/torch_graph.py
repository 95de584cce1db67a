"""Model files as torch modules, for the converters that start from torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor, nn

from mien.errors import ModelError
from mien.export.torch_operators import OPERATORS, Value, pad_kernel
from mien.export.weights import check_float32


class Step(NamedTuple):
    """Call of an operator: names of its inputs and of its output, and its attributes."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, object]


class TorchGraph(nn.Module):
    """An ONNX graph in evaluation mode.

    Attributes:
        input_names: arguments of `forward`, in order.
        output_names: results of `forward`, in order.
    """

    def __init__(
        self,
        steps: list[Step],
        constants: dict[str, Value],
        input_names: tuple[str, ...],
        output_names: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.steps = steps
        self.input_names = input_names
        self.output_names = output_names
        self.values: dict[str, Value] = {}
        self.parameter_names: dict[str, str] = {}
        for name in dict.fromkeys(name for step in steps for name in step.inputs if name in constants):
            value = constants[name]
            if isinstance(value, Tensor):
                self.parameter_names[name] = f"constant_{len(self.parameter_names)}"
                self.register_parameter(self.parameter_names[name], nn.Parameter(value, requires_grad=False))
            else:
                self.values[name] = value

    def forward(self, *inputs: Tensor, before_padding: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, ...]:
        """Return the outputs of the graph for its inputs.

        Args:
            inputs: tensors in the order of `input_names`.
            before_padding: function of the feature maps (N, C, h, w) that convolutions pad.
        """
        values: dict[str, Value] = {"": None, **self.values}
        values.update((name, getattr(self, parameter)) for name, parameter in self.parameter_names.items())
        values.update(zip(self.input_names, inputs, strict=True))
        for step in self.steps:
            if before_padding and _has_padding(step):
                features = values[step.inputs[0]]
                assert isinstance(features, Tensor)
                values[step.inputs[0]] = before_padding(features)
            values[step.output] = _apply(step, values)
        return tuple(values[name] for name in self.output_names)  # pyright: ignore[reportReturnType]


def load_graph(model: Path | bytes, *output_names: str) -> TorchGraph:
    """Load an ONNX graph that computes in float32, with weights stored in any type, as a torch module.

    Operators on constants are evaluated once. Asymmetric padding of convolutions becomes symmetric padding of larger
    kernels, because some converters cannot pad asymmetrically in int8.

    Args:
        model: an .onnx file or a serialized graph.
        output_names: outputs to keep; all by default.

    Raises:
        ModelError: if the graph does not compute in float32, or has an operator or output that cannot be converted.
    """
    graph = _parse(model)
    constants: dict[str, Value] = {"": None}
    factors = {node.input[2] for node in graph.graph.node if node.op_type == "Resize"}
    for tensor in graph.graph.initializer:
        constants[tensor.name] = _constant(numpy_helper.to_array(tensor), is_list=tensor.name in factors)
    steps = []
    for node in graph.graph.node:
        step = _read_step(node)
        if all(name in constants for name in step.inputs):
            constants[step.output] = _apply(step, constants)
        else:
            steps.append(_symmetric(step, constants) if step.operator == "Conv" else step)
    present = tuple(value.name for value in graph.graph.output)
    if unknown := set(output_names) - set(present):
        raise ModelError(f"the model has no output {', '.join(sorted(unknown))}; it has {', '.join(present)}.")
    names = output_names or present
    inputs = tuple(value.name for value in graph.graph.input)
    return TorchGraph(_needed(steps, names), constants, inputs, names).eval()


def _parse(model: Path | bytes) -> ModelProto:
    graph = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    check_float32(graph)
    operators = {node.op_type for node in graph.graph.node}
    if unknown := operators - OPERATORS.keys():
        raise ModelError(f"operators that cannot be converted to torch: {', '.join(sorted(unknown))}.")
    return graph


def _read_step(node: NodeProto) -> Step:
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return Step(node.op_type, tuple(node.input), node.output[0], attributes)


def _constant(values: np.ndarray, *, is_list: bool) -> Value:
    """Return integers and scalars as Python values, other arrays as tensors or lists."""
    if is_list or values.dtype == np.int64 or values.ndim == 0:
        return values.tolist()
    return torch.from_numpy(values.copy())


def _apply(step: Step, values: dict[str, Value]) -> Value:
    return OPERATORS[step.operator](*(values[name] for name in step.inputs), **step.attributes)


def _has_padding(step: Step) -> bool:
    """Return whether a step is a convolution that pads its input."""
    pads = step.attributes.get("pads")
    return step.operator == "Conv" and isinstance(pads, list) and any(pads)


def _symmetric(step: Step, constants: dict[str, Value]) -> Step:
    """Replace a convolution with asymmetric padding; see `pad_kernel`."""
    pads = step.attributes.get("pads", [0, 0, 0, 0])
    assert isinstance(pads, list)
    weight = constants.get(step.inputs[1])
    if pads[:2] == pads[2:]:
        return step
    if step.attributes.get("dilations", [1, 1]) != [1, 1] or not isinstance(weight, Tensor):
        raise ModelError("a dilated convolution with asymmetric padding cannot be converted to torch.")
    name = f"{step.output} kernel"
    constants[name], pads = pad_kernel(weight, pads)
    return step._replace(inputs=(step.inputs[0], name, *step.inputs[2:]), attributes={**step.attributes, "pads": pads})


def _needed(steps: list[Step], outputs: tuple[str, ...]) -> list[Step]:
    """Return the steps on which the outputs depend, in order."""
    tensors = set(outputs)
    needed = []
    for step in reversed(steps):
        if step.output in tensors:
            tensors.update(step.inputs)
            needed.append(step)
    return needed[::-1]
