"""Conversion of a checkpoint to a model file: an `.onnx` graph with pixels as input, and its manifest."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from mien.atomic import write_atomic
from mien.errors import CheckpointError, ConfigError, ModelError, ParityError
from mien.export.format_spec import WeightType
from mien.export.simplify import simplify
from mien.export.weights import store_weights
from mien.manifest import AlignmentSpec, InputSpec, Manifest, RegionSpec, result_license, write_manifest
from mien.models import build_model
from mien.models.network import ExportModule, ExpressionNetwork, trace_graph
from mien.runtime import open_session
from mien.training.checkpoint import Checkpoint, load_checkpoint, saved_config
from mien.training.config import Config
from mien.training.sources import checkpoint_sources

TOLERANCE = 1e-4
"""Maximum difference between torch and the exported graph; relative to the maximum for maps and embeddings with values
above 1."""

STORED_TOLERANCE = {"float32": TOLERANCE, "float16": 0.05, "int8": 0.5}
"""Maximum difference by type of the stored weights; a label changes only if two classes are closer than this."""


def export_model(
    checkpoint_path: Path, output: Path, *, weights: WeightType = "float16", source: dict[str, Any] | None = None
) -> Manifest:
    """Write a model file and its manifest from a checkpoint's averaged weights, without calibration.

    The graph has the input `images` (N, 3, S, S) float32 RGB 0..255 and the outputs `logits` (N, C), class activation
    `maps` (N, C, h, w), `embedding` (N, D) and, for networks with regions, their weights `regions` (N, R). Version and
    license come from the recipe's `[card]`, `trained_on` from the run (see `mien.training.sources`). The remaining
    values are fitted by `mien.export.calibrate`.

    Args:
        checkpoint_path: checkpoint of a training run.
        output: path of the model file, ending in .onnx.
        weights: type of the stored weights; see `mien.export.weights`.
        source: additional entries for `source`, beside recipe, step and data set.

    Raises:
        CheckpointError: if the checkpoint cannot be read.
        ParityError: if torch and ONNX Runtime differ on random images by more than `TOLERANCE`, with stored weights
            `STORED_TOLERANCE`; no file is written.
    """
    if output.suffix != ".onnx":
        raise ModelError(f"{output.name}: the name of a model file must end in .onnx.")
    checkpoint = load_checkpoint(checkpoint_path)
    config = saved_config(checkpoint, checkpoint_path)
    network = _build_network(checkpoint, config, checkpoint_path)
    sources = checkpoint_sources(checkpoint, checkpoint_path)
    graph = export_graph(network.eval(), config.data.size)
    if weights != "float32":
        graph = store_weights(graph, weights)
        _check_parity(ExportModule(network), graph, config.data.size, STORED_TOLERANCE[weights])
    output.parent.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        name=output.stem,
        version=config.card.version,
        task="expression",
        labels=tuple(checkpoint.labels),
        input=InputSpec(size=config.data.size),
        alignment=AlignmentSpec(template=config.data.template, margin=config.data.margin),
        regions=tuple(RegionSpec(name=name, bbox_xyxy=bbox_xyxy) for name, bbox_xyxy in network.regions),
        trained_on=sources,
        license=result_license(config.card.license, sources),
        sha256=hashlib.sha256(graph).hexdigest(),
        source={
            "recipe": config.name,
            "step": checkpoint.step,
            "data": checkpoint.data,
            **_balance(config),
            **(source or {}),
        },
    )
    write_atomic(output, graph)
    write_manifest(manifest, output)
    return manifest


def _balance(config: Config) -> dict[str, float]:
    """Return by how much flatter the class frequencies of the training were than those of its data, if they were.

    A network that is trained with balance b and logit adjustment tau predicts as if the classes had the shares of the
    data to the power of (1 - b)(1 - tau).

    Source:
        Menon et al. (ICLR 2021), "Long-tail learning via logit adjustment", section 4.
    """
    balance = 1 - (1 - config.data.balance) * (1 - config.training.logit_adjustment)
    return {"balance": round(balance, 6)} if balance else {}


def _build_network(checkpoint: Checkpoint, config: Config, path: Path) -> ExpressionNetwork:
    """Build the network of a checkpoint with its averaged weights."""
    try:
        network = build_model(
            config.model.name, len(checkpoint.labels), config.model.options, affect=config.target.valence_arousal > 0
        )
        network.load_state_dict(checkpoint.ema)
    except (ConfigError, ModelError, RuntimeError):
        raise CheckpointError(
            f"{path}: its network {config.model.name!r} has other layers than this version's: export it with the "
            "version of mien that trained it."
        ) from None
    return network


def export_graph(network: ExpressionNetwork, size: int) -> bytes:
    """Return the ONNX graph of a network in evaluation mode, after comparing its outputs with torch.

    Raises:
        ParityError: see `export_model`.
    """
    module = ExportModule(network)
    model = onnx.load_from_string(trace_graph(module, size, *module.output_names))
    simplify(model)
    onnx.checker.check_model(model)
    graph = model.SerializeToString()
    _check_parity(module, graph, size, TOLERANCE)
    return graph


def _check_parity(module: ExportModule, graph: bytes, size: int, tolerance: float) -> None:
    images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected = [output.numpy() for output in module.eval()(images)]
    outputs = open_session(graph, device="cpu").run(list(module.output_names), {"images": images.numpy()})
    for name, reference, output in zip(module.output_names, expected, outputs, strict=True):
        difference = float(np.abs(reference - np.asarray(output)).max())
        scale = float(np.abs(reference).max()) if name in ("maps", "embedding") else 1.0
        allowed = tolerance * max(1.0, scale)
        if not difference <= allowed:
            raise ParityError(
                f"the exported graph's {name} differ from the network's by {difference:.2g}, allowed {allowed:.2g}."
            )
