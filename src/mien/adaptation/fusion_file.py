"""Model files of fitted fusions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.adaptation.fusion import FusionFit
from mien.atomic import write_atomic
from mien.errors import InputError
from mien.fusion.model import TASK, identify
from mien.manifest import InputSpec, Manifest, TrainingSource, check_manifest_path, file_sha256, write_manifest
from mien.runtime import check_float_name

if TYPE_CHECKING:
    from onnx import ModelProto

METRICS = "cross-validated head; trust, components and temperature in sample"
"""Key of the numbers in the manifest; see `FusionFit`."""

_OPSET = 17
_IR_VERSION = 8


def check_fusion_path(output: Path) -> None:
    """Raise `InputError` unless a fusion model can be written and opened again without loss of another file."""
    if output.suffix != ".onnx":
        raise InputError(f"{output}: the name of a model file must end in .onnx.")
    if output.is_dir():
        raise InputError(f"{output} is a folder; expected the name of a model file.")
    check_float_name(output)
    check_manifest_path(output)


def write_fusion(fit: FusionFit, face: Manifest, voice: Manifest, data: TrainingSource, output: Path) -> Manifest:
    """Write a fitted fusion as an `.onnx` file with its manifest, and return the manifest.

    Args:
        fit: the fitted fusion.
        face: manifest of the face model that measured the utterances.
        voice: likewise of the voice model.
        data: the labeled utterances.
        output: file to write, see `check_fusion_path`.

    Raises:
        InputError: if the file cannot be opened again, or its manifest would overwrite another file.
    """
    check_fusion_path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, build_graph(fit, len(face.labels)).SerializeToString())
    manifest = Manifest(
        name=output.stem,
        version="1",
        task=TASK,
        input=InputSpec(size=0, channels="EMBEDDINGS", layout="ND", range=(-1.0, 1.0)),
        sha256=file_sha256(output),
        license="that of the face model, the voice model and the labeled utterances: see trained_on",
        labels=face.labels,
        temperature=round(fit.temperature, 4),
        trained_on=(*face.trained_on, *voice.trained_on, replace(data, name=f"{data.name}, fusion")),
        metrics={METRICS: fit.numbers},
        source={"face": identify(face), "voice": identify(voice), "voice_trust": fit.voice_trust},
    )
    write_manifest(manifest, output)
    return manifest


def build_graph(fit: FusionFit, classes: int) -> ModelProto:
    """Return the graph of the head: `pooled` (N, C), `face` (N, D) and `voice` (N, E) in, `logits` (N, C) out."""
    from onnx import TensorProto, checker, helper, numpy_helper

    bases = {"face": fit.face_basis, "voice": fit.voice_basis}
    scale, weight, bias = _head(fit, classes)
    constants: dict[str, np.ndarray] = {"scale": np.array(scale), "weight": weight, "bias": bias}
    nodes = []
    for name, basis in bases.items():
        constants[f"{name}.directions"] = basis.directions
        constants[f"{name}.offset"] = -basis.directions @ basis.center
        inputs = [name, f"{name}.directions", f"{name}.offset"]
        nodes.append(helper.make_node("Gemm", inputs, [f"{name}.components"], transB=1))
    shapes: dict[str, Any] = {
        "column": [0, len(fit.face_basis.directions), 1],
        "row": [0, 1, len(fit.voice_basis.directions)],
        "flat": [0, -1],
    }
    nodes += [
        helper.make_node("Reshape", ["face.components", "column"], ["face.column"]),
        helper.make_node("Reshape", ["voice.components", "row"], ["voice.row"]),
        helper.make_node("Mul", ["face.column", "voice.row"], ["products"]),
        helper.make_node("Reshape", ["products", "flat"], ["products.flat"]),
        helper.make_node("Concat", ["face.components", "voice.components", "products.flat"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["change"], transB=1),
        helper.make_node("Mul", ["pooled", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "change"], ["logits"]),
    ]
    widths = {"pooled": classes, **{name: len(basis.center) for name, basis in bases.items()}}
    graph = helper.make_graph(
        nodes,
        "fusion",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name, width in widths.items()],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]
        + [numpy_helper.from_array(np.array(values, dtype=np.int64), name) for name, values in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    checker.check_model(model)
    return model


def _head(fit: FusionFit, classes: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return scale, weight (C, K + L + K L) and bias (C,) of the head; without one, those that change nothing."""
    if fit.correction is not None:
        return fit.correction.scale, fit.correction.weight, fit.correction.bias
    face, voice = len(fit.face_basis.directions), len(fit.voice_basis.directions)
    return 1.0, np.zeros((classes, face + voice + face * voice)), np.zeros(classes)
