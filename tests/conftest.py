"""What many tests share: a tiny expression model, and the pictures of `examples/`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from mien.emotions import EXPRESSIONS
from mien.imaging import read_image
from mien.manifest import AlignmentSpec, InputSpec, Manifest, file_sha256, write_manifest

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


def make_model(path: Path, *, labels: tuple[str, ...] = EXPRESSIONS, **changes: object) -> Path:
    """Write an untrained model (means of 6 x 6 fields, one linear layer) and its manifest, fields changed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    classes, fields = 8, TINY_SIDE // 8
    weights = np.random.default_rng(0).normal(0, 0.02, (3 * fields * fields, classes)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, TINY_SIDE, TINY_SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "weights")],
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
        "labels": labels,
        "alignment": AlignmentSpec(template="ferplus", margin=0.1),
        "temperature": 1.5,
    }
    write_manifest(Manifest(**{**fields_of_manifest, **changes}), path)  # pyright: ignore[reportArgumentType]
    return path
