"""Simplification of a traced graph: what depends on neither the pixels nor the batch size is computed once."""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, numpy_helper

from mien.errors import ParityError
from mien.export.rewrite import Rewriter, Tensors
from mien.runtime import open_session

BATCHES = (2, 3)
"""Batch sizes of the two runs that show which tensors depend on the batch size."""
TOLERANCE = 1e-5
"""Maximum difference between the outputs before and after; relative to the maximum of outputs with values above 1."""


def simplify(model: ModelProto) -> None:
    """Store every tensor that depends neither on the pixels nor on the batch size, and drop nodes without effect.

    Traced networks compute the bounds of their slices, paddings and channel shuffles from tensor shapes in every run.

    Args:
        model: graph with the input `images` (N, 3, S, S) and float32 weights; changed in place.

    Raises:
        ParityError: if the outputs change by more than `TOLERANCE`.
    """
    original = model.SerializeToString()
    outputs = [value.name for value in model.graph.output]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    names = _fixed_tensors(model, stored)
    resized = [node.input[0] for node in model.graph.node if node.op_type in ("Resize", "Pad")]
    first, second = (_evaluate(model, [*names, *resized, *outputs], batch) for batch in BATCHES)
    constants = {name: first[name] for name in names if np.array_equal(first[name], second[name])}
    nodes = [node for node in model.graph.node if not constants.keys() >= set(node.output)]
    for node in nodes:
        if node.op_type == "Reshape" and node.input[1] in first.keys() - constants.keys():
            constants.update(_free_batch(node, first[node.input[1]], second[node.input[1]]))
        elif node.op_type == "Resize" and len(node.input) == 4 and node.input[3] not in constants:
            constants.update(_scale_by_factors(node, first[node.input[0]].shape, first[node.input[3]]))
    constants.update(stored)
    rewriter = Rewriter(nodes, constants, {name: first[name].shape[1] for name in resized})
    nodes = [new for node in nodes for new in rewriter.rewrite(node)]
    _replace(model, needed_nodes(_without_identities(nodes, outputs), outputs), constants)
    for value in model.graph.output:
        _fix_shape(value, first[value.name].shape)
    _check_outputs(original, model, outputs)


def _fixed_tensors(model: ModelProto, stored: Tensors) -> list[str]:
    """Return the tensors that depend only on stored values and on shapes, in order."""
    known = {*stored, ""}
    names = []
    for node in model.graph.node:
        if node.op_type == "Shape" or known.issuperset(node.input):
            known.update(node.output)
            names += node.output
    return names


def _evaluate(model: ModelProto, names: Sequence[str], batch: int) -> Tensors:
    """Return the values of tensors for a batch of black images."""
    extended = ModelProto()
    extended.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    inner = dict.fromkeys(name for name in names if name not in present)
    extended.graph.output.extend(ValueInfoProto(name=name) for name in inner)
    images = np.zeros((batch, *_image_shape(model)), dtype=np.float32)
    values = open_session(extended.SerializeToString(), device="cpu").run(list(names), {"images": images})
    return dict(zip(names, map(np.asarray, values), strict=True))


def _image_shape(model: ModelProto) -> tuple[int, ...]:
    return tuple(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:])


def _free_batch(node: NodeProto, first: np.ndarray, second: np.ndarray) -> Tensors:
    """Let a Reshape take sizes that follow the batch size from its input, which 0 means."""
    node.input[1] = f"{node.output[0]} shape"
    return {node.input[1]: np.where(first == second, first, 0)}


def _scale_by_factors(node: NodeProto, shape: tuple[int, ...], sizes: np.ndarray) -> Tensors:
    """Let a Resize scale by constant factors instead of to a size that includes the batch size."""
    name = f"{node.output[0]} factors"
    node.input[2:] = [name]
    return {name: (sizes / shape).astype(np.float32)}


def _without_identities(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """Connect the readers of an Identity to its input; one that makes an output of the graph stays."""
    sources: dict[str, str] = {}
    remaining = []
    for node in nodes:
        node.input[:] = [sources.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            sources[node.output[0]] = node.input[0]
        else:
            remaining.append(node)
    return remaining


def needed_nodes(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """Return the nodes on which the outputs depend, in order."""
    tensors = set(outputs)
    needed = []
    for node in reversed(nodes):
        if tensors.intersection(node.output):
            tensors.update(node.input)
            needed.append(node)
    return needed[::-1]


def _replace(model: ModelProto, nodes: Sequence[NodeProto], constants: Tensors) -> None:
    """Replace the nodes of a graph, and its stored tensors by those that the nodes read."""
    used = dict.fromkeys(name for node in nodes for name in node.input if name in constants)
    del model.graph.node[:]
    del model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(constants[name], name) for name in used)


def _fix_shape(value: ValueInfoProto, shape: tuple[int, ...]) -> None:
    """State all sizes of an output but the batch size."""
    for dimension, size in list(zip(value.type.tensor_type.shape.dim, shape, strict=True))[1:]:
        dimension.dim_value = size


def _check_outputs(original: bytes, model: ModelProto, names: list[str]) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (3, *_image_shape(model))).astype(np.float32)
    for batch in (images[:1], images):
        sessions = (open_session(graph, device="cpu") for graph in (original, model.SerializeToString()))
        before, after = (session.run(names, {"images": batch}) for session in sessions)
        for name, expected, actual in zip(names, map(np.asarray, before), map(np.asarray, after), strict=True):
            difference = np.abs(expected - actual).max() if expected.shape == actual.shape else np.inf
            if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
                raise ParityError(f"the simplified graph's {name} differ from the original's by {difference:.2g}.")
