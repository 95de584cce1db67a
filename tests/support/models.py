"""Tiny untrained expression models with valid manifests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.emotions import EXPRESSIONS
from mien.manifest import AlignmentSpec, InputSpec, Manifest, RegionSpec, file_sha256, write_manifest
from mien.runtime import LoadedModel, load_model

TINY_SIZE = 48

HALVES = (
    RegionSpec(name="upper", bbox_xyxy=(0.0, 0.0, 1.0, 0.5)),
    RegionSpec(name="lower", bbox_xyxy=(0.0, 0.5, 1.0, 1.0)),
)


def make_explainable(path: Path, **changes: object) -> Path:
    """Write an untrained model with class activation maps, and with regions weighted by brightness."""
    from onnx import helper, numpy_helper

    weights = np.random.default_rng(1).normal(0, 0.1, (8, 3, 3, 3)).astype(np.float32)
    by_region = np.kron(np.eye(2), np.full((18, 1), 1e-3)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["pooled", "kernel"], ["maps"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["maps"], ["logits"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["pooled"], ["gray"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["pooled"], ["embedding"], axes=[2, 3], keepdims=0),
        helper.make_node("Flatten", ["gray"], ["flat"]),
        helper.make_node("MatMul", ["flat", "by_region"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["regions"]),
    ]
    outputs = {"logits": ["n", 8], "maps": ["n", 8, 6, 6], "embedding": ["n", 3], "regions": ["n", 2]}
    tensors = [numpy_helper.from_array(weights, "kernel"), numpy_helper.from_array(by_region, "by_region")]
    return write_model(path, nodes, outputs, tensors, **{"regions": HALVES, **changes})


def make_model(path: Path, **changes: object) -> Path:
    """Write an untrained linear model over 6 x 6 cells and its manifest with the given changes."""
    from onnx import helper, numpy_helper

    classes = 8
    cells = TINY_SIZE // 8
    weights = np.random.default_rng(0).normal(0, 0.02, (3 * cells * cells, classes)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    tensors = [numpy_helper.from_array(weights, "weights")]
    return write_model(path, nodes, {"logits": ["n", classes]}, tensors, **changes)


def write_model(
    path: Path, nodes: list[object], outputs: dict[str, list[object]], tensors: list[object], **changes: object
) -> Path:
    """Write a graph with the input `images`, and a manifest with the given changes."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, TINY_SIZE, TINY_SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    manifest: dict[str, object] = {
        "name": path.stem,
        "version": "0",
        "task": "expression",
        "input": InputSpec(size=TINY_SIZE),
        "sha256": file_sha256(path),
        "license": "MIT",
        "labels": EXPRESSIONS,
        "alignment": AlignmentSpec(template="ferplus", margin=0.1),
        "temperature": 1.5,
    }
    write_manifest(Manifest(**{**manifest, **changes}), path)  # pyright: ignore[reportArgumentType]
    return path


class FailingSession:
    """Session of ONNX Runtime that fails when it runs."""

    def __init__(self, session: object, message: str) -> None:
        self.session = session
        self.message = message

    def __getattr__(self, name: str) -> object:
        return getattr(self.session, name)

    def run(self, *_: object) -> object:
        raise RuntimeError(self.message)


def break_networks(monkeypatch: pytest.MonkeyPatch, module: str, message: str) -> None:
    """Make the networks fail that a module loads from now on."""

    def load(*arguments: object, **options: object) -> LoadedModel:
        loaded = load_model(*arguments, **options)
        return replace(loaded, session=FailingSession(loaded.session, message))

    monkeypatch.setattr(f"{module}.load_model", load)
