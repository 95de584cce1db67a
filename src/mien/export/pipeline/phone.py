"""The pipelines of a phone bundle, with names and examples of their inputs."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from mien.export.pipeline.detector import DetectorPipeline
from mien.export.pipeline.expression import ExpressionPipeline
from mien.export.pipeline.graph import PipelineGraph
from mien.export.pipeline.mesh import MeshPipeline
from mien.manifest import Manifest
from mien.runtime import find_model

NetworkLoader = Callable[[Path, tuple[str, ...]], nn.Module]
"""From a model file and the names of its outputs to a module that returns them."""


def build_pipelines(
    model: Path, manifest: Manifest, load: NetworkLoader, *, canvas: int, mesh: bool, has_dynamic_shapes: bool
) -> dict[str, PipelineGraph]:
    """Return the pipelines by name: detector, expression and, if wanted, mesh.

    Args:
        model: file of an expression model.
        manifest: its manifest.
        load: loader of the networks.
        canvas: maximum side of an image in pixels.
        mesh: include the face mesh.
        has_dynamic_shapes: use dynamic shapes inside.
    """
    network = load(find_model("face-detector"), ("confidences", "cells"))
    image = {
        "image": torch.zeros(canvas, canvas, 3, dtype=torch.uint8),
        "size": torch.tensor([canvas, canvas], dtype=torch.int32),
    }
    box = torch.tensor([0.2, 0.2, 0.7, 0.8]) * canvas
    landmarks = torch.tensor([[0.35, 0.4], [0.55, 0.4], [0.45, 0.5], [0.37, 0.6], [0.53, 0.6]]) * canvas
    pipelines = {
        "detector": PipelineGraph(
            module=DetectorPipeline(network, canvas, has_dynamic_shapes=has_dynamic_shapes).eval(),
            inputs=image,
            outputs=("boxes", "landmarks", "scores", "count"),
        ),
        "expression": PipelineGraph(
            module=ExpressionPipeline(load(model, ("logits",)), manifest, has_dynamic_shapes=has_dynamic_shapes).eval(),
            inputs={**image, "box": box, "landmarks": landmarks},
            outputs=("probabilities", "label", "sharpness"),
        ),
    }
    if mesh:
        network = load(find_model("face-landmarks"), ("Identity", "Identity_1"))
        pipelines["mesh"] = PipelineGraph(
            module=MeshPipeline(network, has_dynamic_shapes=has_dynamic_shapes).eval(),
            inputs={**image, "box": box, "eyes": landmarks[:2]},
            outputs=("mesh", "presence", "rotation", "pose"),
        )
    return pipelines
