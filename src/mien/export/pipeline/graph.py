"""Tracing of the pipelines to ONNX graphs."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from mien.export.pipeline.network import OnnxNetwork, inline_networks
from mien.models.network import OPSET


@dataclass(frozen=True, kw_only=True)
class PipelineGraph:
    """A pipeline with what an exporter needs.

    Attributes:
        module: from the inputs to a tuple of outputs, in evaluation mode.
        inputs: example inputs by name, in the order of `forward`; all shapes are static.
        outputs: names of the outputs.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: Sequence[str]

    def example_outputs(self) -> tuple[Tensor, ...]:
        """Return the outputs for the example inputs."""
        with torch.no_grad():
            return self.module(*self.inputs.values())


def export_onnx(pipeline: PipelineGraph) -> bytes:
    """Return a pipeline as an ONNX graph with the networks' stored weights."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecation and of constants
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            pipeline.module,
            tuple(pipeline.inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            custom_opsets={"mien": 1},
            input_names=list(pipeline.inputs),
            output_names=list(pipeline.outputs),
        )
        model = onnx.load(path)
    networks = [module for module in pipeline.module.modules() if isinstance(module, OnnxNetwork)]
    inline_networks(model, networks)
    return model.SerializeToString()
