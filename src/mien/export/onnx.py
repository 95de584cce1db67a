"""A checkpoint becomes a model file: an `.onnx` that takes plain pixels, and the manifest that vouches for it."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from mien.atomic import write_atomic
from mien.errors import ModelError, ParityError
from mien.export.half import store_half
from mien.manifest import AlignmentSpec, InputSpec, Manifest, RegionSpec, write_manifest
from mien.models.network import ExplainingGraph, ExpressionNetwork, trace_graph
from mien.runtime import open_session
from mien.training.checkpoint import Checkpoint, load_checkpoint
from mien.training.config import Config, config_from_dict
from mien.training.loop import build_model

TOLERANCE = 1e-4
"""Largest difference between torch and the exported graph; of maps and embeddings that exceed 1, in parts of their
largest value."""

HALF_TOLERANCE = 0.05
"""The same for weights that were rounded to float16; a label changes only where two classes are as near as that."""


def export_model(
    checkpoint_path: Path,
    output: Path,
    *,
    half: bool = True,
    source: dict[str, Any] | None = None,
) -> Manifest:
    """Write `output` (.onnx) and its manifest from a checkpoint's averaged weights, uncalibrated.

    The graph takes `images` (N, 3, S, S) float32 RGB 0..255 and gives `logits` (N, C), class-activation `maps`
    (N, C, h, w) and, where the network has regions, their weights `regions` (N, R). Name, version, licence and data
    sets come from the recipe's `[card]`; the data set that was in fact learned from stands under `source`;
    `mien.export.calibrate` fits the rest.

    Args:
        checkpoint_path: of a training run.
        output: ends in .onnx.
        half: store the weights as float16; see `mien.export.half`.
        source: what else leads back to the run, beside the recipe and the step.

    Raises:
        CheckpointError: when the checkpoint cannot be read.
        ParityError: when torch and ONNX Runtime differ by more than `TOLERANCE`, with
            rounded weights `HALF_TOLERANCE`, on random images; nothing is written.
    """
    if output.suffix != ".onnx":
        raise ModelError(f"{output.name}: a model file ends in .onnx.")
    checkpoint = load_checkpoint(checkpoint_path)
    config = config_from_dict(checkpoint.config)
    network = _restore(checkpoint, config)
    graph = export_graph(network, config.data.size)
    if half:
        graph = store_half(graph)
        _check_parity(ExplainingGraph(network), graph, config.data.size, HALF_TOLERANCE)
    output.parent.mkdir(parents=True, exist_ok=True)
    data = {"data": checkpoint.data} if checkpoint.data else {}  # checkpoints of older versions do not tell
    manifest = Manifest(
        name=output.stem,
        version=config.card.version,
        task="expression",
        labels=tuple(checkpoint.labels),
        input=InputSpec(size=config.data.size),
        alignment=AlignmentSpec(template=config.data.template, margin=config.data.margin),
        regions=tuple(RegionSpec(name=name, bbox_xyxy=bbox_xyxy) for name, bbox_xyxy in network.regions),
        trained_on=config.card.trained_on,
        license=config.card.licence,
        sha256=hashlib.sha256(graph).hexdigest(),
        source={"recipe": config.name, "step": checkpoint.step, **data, **(source or {})},
    )
    write_atomic(output, graph)
    write_manifest(manifest, output)
    return manifest


def _restore(checkpoint: Checkpoint, config: Config) -> ExpressionNetwork:
    network = build_model(config.model, len(checkpoint.labels))
    network.load_state_dict(checkpoint.ema)
    return network.eval()


def export_graph(network: ExpressionNetwork, size: int) -> bytes:
    """The ONNX graph of a network in evaluation mode, all its outputs checked against torch.

    Raises:
        ParityError: see `export_model`.
    """
    explaining = ExplainingGraph(network)
    graph = trace_graph(explaining, size, *explaining.outputs)
    onnx.checker.check_model(onnx.load_from_string(graph))
    _check_parity(explaining, graph, size, TOLERANCE)
    return graph


def _check_parity(network: ExplainingGraph, graph: bytes, size: int, tolerance: float) -> None:
    images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected = [output.numpy() for output in network.eval()(images)]
    found = open_session(graph).run(list(network.outputs), {"images": images.numpy()})
    for name, wanted, given in zip(network.outputs, expected, found, strict=True):
        difference = float(np.abs(wanted - np.asarray(given)).max())
        largest = float(np.abs(wanted).max()) if name in ("maps", "embedding") else 1.0
        allowed = tolerance * max(1.0, largest)
        if not difference <= allowed:
            raise ParityError(
                f"the exported graph's {name} differ from the network's by {difference:.2g}, allowed {allowed:.2g}."
            )
