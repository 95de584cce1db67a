"""What every network in `MODELS` is to training and export, and its way into an ONNX graph."""

import tempfile
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ModelError

OPSET = 17


class Region(NamedTuple):
    """A part of the face that a network looks at separately."""

    name: str
    bbox_xyxy: tuple[float, float, float, float]
    """Shares 0..1 of the crop."""


class Reading(NamedTuple):
    """What a network makes of a batch of faces."""

    logits: Float[Tensor, "batch classes"]
    feature_map: Float[Tensor, "batch channels rows columns"]
    """What is averaged over places, or stands nearest to it, before the classifier."""
    region_weights: Float[Tensor, "batch regions"] | None
    """How much each region counts for each face; rows sum to 1. None: the network knows no regions."""

    @property
    def embedding(self) -> Float[Tensor, "batch channels"]:
        """The feature map's mean over places: what the classifier decides by."""
        return self.feature_map.mean(dim=(2, 3))


class ExpressionNetwork(nn.Module, ABC):
    """Pixels 0..255 to logits, in two halves: layers that do not learn, and those that do.

    A subclass names its last layer `classifier`: it learns at a rate of its own.
    """

    classifier: nn.Linear
    has_frozen_layers: bool = False
    regions: tuple[Region, ...] = ()
    """The parts of the face that the weights of a `Reading` are of."""

    @abstractmethod
    def frozen_features(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """Pixels through the layers that do not learn; the first dimension stays the batch."""

    @abstractmethod
    def read(self, features: Tensor) -> Reading:
        """Logits, feature map and region weights from what `frozen_features` gave."""

    def from_features(self, features: Tensor) -> Float[Tensor, "batch classes"]:
        """Logits from what `frozen_features` gave."""
        return self.read(features).logits

    def activation_maps(
        self, feature_map: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Class-activation maps: the classifier at every place of a feature map, without its bias.

        Source:
            Zhou et al. (CVPR 2016). For a head of average pooling and one linear layer Grad-CAM gives the same
            (Selvaraju et al., ICCV 2017, appendix A), up to a factor.
        """
        return F.conv2d(feature_map, self.classifier.weight[:, :, None, None])

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


class ExplainingGraph(nn.Module):
    """A network as it is exported: logits, class-activation maps, embedding and, when it has regions, their weights."""

    def __init__(self, network: ExpressionNetwork) -> None:
        super().__init__()
        self.network = network

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `forward` gives."""
        return ("logits", "maps", "embedding", *(("regions",) if self.network.regions else ()))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> tuple[Tensor, ...]:
        """Everything that the network can tell of RGB crops with values 0..255."""
        reading = self.network.read(self.network.frozen_features(images))
        maps = self.network.activation_maps(reading.feature_map)
        given = (reading.logits, maps, reading.embedding, reading.region_weights)
        return given[: len(self.outputs)]  # pyright: ignore[reportReturnType]


def trace_graph(network: nn.Module, size: int, *outputs: str) -> bytes:
    """The ONNX graph of a network in evaluation mode: `images` (N, 3, size, size) in, `outputs` out, N free."""
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
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in ("images", *outputs)},
        )
        return path.read_bytes()
