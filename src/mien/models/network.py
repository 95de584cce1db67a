"""What every network in `MODELS` is to training and export, and its way into an ONNX graph."""

import tempfile
import warnings
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ModelError

OPSET = 17


class ExpressionNetwork(nn.Module, ABC):
    """Pixels 0..255 to logits, in two halves: layers that do not learn, and those that do.

    A subclass names its last layer `classifier`: it learns at a rate of its own.
    """

    @abstractmethod
    def frozen_features(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """Pixels through the layers that do not learn; the first dimension stays the batch."""

    @abstractmethod
    def from_features(self, features: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits from what `frozen_features` gave."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Logits for RGB crops with values 0..255."""
        return self.from_features(self.frozen_features(images))

    def load_pretrained(self, path: Path, images: Float[Tensor, "batch 3 height width"]) -> None:
        """Start from weights in a file; `images` are training faces to measure statistics on.

        Raises:
            ModelError: when the network has no pretrained start, or the file is missing or of another network.
        """
        raise ModelError(
            f"{type(self).__name__} has no pretrained start; leave out model.pretrained ({path})."
        )


def trace_graph(network: nn.Module, size: int, output: str) -> bytes:
    """The ONNX graph of a network in evaluation mode: `images` (N, 3, size, size) in, `output` out, N free."""
    example = (torch.zeros(2, 3, size, size),)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecation
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            network.eval(),
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=[output],
            dynamic_axes={"images": {0: "batch"}, output: {0: "batch"}},
        )
        return path.read_bytes()
