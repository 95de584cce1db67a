"""What many tests share: a tiny expression model, and the pictures of `examples/`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from mien.emotions import EXPRESSIONS
from mien.imaging import read_image
from mien.manifest import AlignmentSpec, InputSpec, Manifest, RegionSpec, file_sha256, write_manifest

ROOT = Path(__file__).parents[1]
TINY_SIDE = 48

settings.register_profile("mien", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "mien"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example pictures."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def portrait(examples: Path) -> np.ndarray:
    """A photograph with one face."""
    return read_image(examples / "astronaut.jpg")


@pytest.fixture(scope="session")
def group(examples: Path) -> np.ndarray:
    """A picture with several faces."""
    return read_image(examples / "group.jpg")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expression model of a few hundred weights: the same contract as the real one, no meaning."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def explainable_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that gives class-activation maps (8, 6, 6) and the weights of two regions."""
    return make_explainable(tmp_path_factory.mktemp("explainable") / "explainable.onnx")


HALVES = (
    RegionSpec(name="upper", bbox_xyxy=(0.0, 0.0, 1.0, 0.5)),
    RegionSpec(name="lower", bbox_xyxy=(0.0, 0.5, 1.0, 1.0)),
)


def make_explainable(path: Path, **changes: object) -> Path:
    """Write an untrained model whose logits are the means of its maps, and whose regions are weighed by brightness."""
    from onnx import helper, numpy_helper

    weights = np.random.default_rng(1).normal(0, 0.1, (8, 3, 3, 3)).astype(np.float32)
    by_region = np.kron(np.eye(2), np.full((18, 1), 1e-3)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["pooled", "kernel"], ["maps"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["maps"], ["logits"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["pooled"], ["grey"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["pooled"], ["embedding"], axes=[2, 3], keepdims=0),
        helper.make_node("Flatten", ["grey"], ["flat"]),
        helper.make_node("MatMul", ["flat", "by_region"], ["sums"]),
        helper.make_node("Softmax", ["sums"], ["regions"]),
    ]
    outputs = {"logits": ["n", 8], "maps": ["n", 8, 6, 6], "embedding": ["n", 3], "regions": ["n", 2]}
    tensors = [numpy_helper.from_array(weights, "kernel"), numpy_helper.from_array(by_region, "by_region")]
    return write_model(path, nodes, outputs, tensors, **{"regions": HALVES, **changes})


def make_model(path: Path, **changes: object) -> Path:
    """Write an untrained model (means of 6 x 6 fields, one linear layer) and its manifest, fields changed."""
    from onnx import helper, numpy_helper

    classes, fields = 8, TINY_SIDE // 8
    weights = np.random.default_rng(0).normal(0, 0.02, (3 * fields * fields, classes)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    tensors = [numpy_helper.from_array(weights, "weights")]
    return write_model(path, nodes, {"logits": ["n", classes]}, tensors, **changes)


def write_model(
    path: Path,
    nodes: list[object],
    outputs: dict[str, list[object]],
    tensors: list[object],
    **changes: object,
) -> Path:
    """Write a graph from `images` to its outputs, and a manifest with fields changed."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, TINY_SIDE, TINY_SIDE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    fields_of_manifest: dict[str, object] = {
        "name": path.stem,
        "version": "0",
        "task": "expression",
        "input": InputSpec(size=TINY_SIDE),
        "sha256": file_sha256(path),
        "licence": "MIT",
        "labels": EXPRESSIONS,
        "alignment": AlignmentSpec(template="ferplus", margin=0.1),
        "temperature": 1.5,
    }
    write_manifest(Manifest(**{**fields_of_manifest, **changes}), path)  # pyright: ignore[reportArgumentType]
    return path
