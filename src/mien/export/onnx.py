"""A checkpoint becomes a model file: an `.onnx` that takes plain pixels, and the manifest that vouches for it."""

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch import nn

from mien.errors import ModelError, ParityError
from mien.manifest import AlignmentSpec, InputSpec, Manifest, file_sha256, write_manifest
from mien.training.checkpoint import Checkpoint, load_checkpoint
from mien.training.config import Config, config_from_dict
from mien.training.loop import build_model

TOLERANCE = 1e-4
"""Largest difference of a logit between torch and the exported graph."""

OPSET = 17


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the weights cannot say of themselves.

    Attributes:
        name: of the model.
        version: of the weights.
        licence: of the weights.
        trained_on: name and licence of every data set behind them, the pretrained start included.
        source: recipe, commit, and what else leads back to the run.
    """

    name: str
    version: str
    licence: str
    trained_on: tuple[dict[str, str], ...]
    source: dict[str, Any]


def export_model(
    checkpoint_path: Path,
    output: Path,
    card: ModelCard,
    *,
    temperature: float = 1.0,
    abstain_below: float = 0.0,
    metrics: dict[str, Any] | None = None,
) -> Manifest:
    """Write `output` (.onnx) and its manifest from a checkpoint's averaged weights.

    The graph takes `images` (N, 3, S, S) float32 RGB 0..255 and gives `logits` (N, C).

    Raises:
        CheckpointError: when the checkpoint cannot be read.
        ParityError: when torch and ONNX Runtime differ by more than `TOLERANCE` on random pictures; nothing is written.
    """
    if output.suffix != ".onnx":
        raise ModelError(f"{output}: a model file ends in .onnx.")
    checkpoint = load_checkpoint(checkpoint_path)
    config = config_from_dict(checkpoint.config)
    graph = export_graph(_restore(checkpoint, config), config.data.size)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".onnx.partial")
    partial.write_bytes(graph)
    manifest = Manifest(
        name=card.name,
        version=card.version,
        task="expression",
        labels=tuple(checkpoint.labels),
        input=InputSpec(size=config.data.size),
        alignment=AlignmentSpec(template=config.data.template, margin=config.data.margin),
        temperature=temperature,
        abstain_below=abstain_below,
        trained_on=card.trained_on,
        licence=card.licence,
        metrics=metrics or {},
        sha256=file_sha256(partial),
        source=card.source,
    )
    os.replace(partial, output)
    write_manifest(manifest, output)
    return manifest


def _restore(checkpoint: Checkpoint, config: Config) -> nn.Module:
    model = build_model(config.model, len(checkpoint.labels))
    model.load_state_dict(checkpoint.ema)
    return model.eval()


def export_graph(model: nn.Module, size: int) -> bytes:
    """The ONNX graph of a network in evaluation mode, checked against torch.

    Raises:
        ParityError: see `export_model`.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecation
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, size, size),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )
    graph = buffer.getvalue()
    onnx.checker.check_model(onnx.load_from_string(graph))
    _check_parity(model, graph, size)
    return graph


def _check_parity(model: nn.Module, graph: bytes, size: int) -> None:
    images = torch.rand(5, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected = model(images).numpy()
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(["logits"], {"images": images.numpy()})[0])
    difference = float(np.abs(expected - found).max())
    if not difference <= TOLERANCE:
        raise ParityError(f"the exported graph differs from the network by {difference:.2g}, allowed {TOLERANCE}.")
