"""Base class of all networks, and their conversion to ONNX graphs."""

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
from mien.models.layers import FeatureMap, Images

OPSET = 17
"""ONNX operator set of exported graphs."""


class Region(NamedTuple):
    """A region of the face that a network processes separately."""

    name: str
    bbox_xyxy: tuple[float, float, float, float]
    """Left, top, right, bottom as fractions 0..1 of the crop."""


class NetworkOutput(NamedTuple):
    """Output of a network for a batch of faces."""

    logits: Float[Tensor, "batch classes"]
    feature_map: FeatureMap
    """Input of the global average pooling before the classifier."""
    region_weights: Float[Tensor, "batch regions"] | None
    """Attention weights of the regions; rows sum to 1. None for a network without region attention."""

    @property
    def embedding(self) -> Float[Tensor, "batch channels"]:
        """The pooled feature map, which is the input of the classifier."""
        return self.feature_map.mean(dim=(2, 3))


class ExpressionNetwork(nn.Module, ABC):
    """A network from pixels 0..255 to logits, in two parts: frozen layers, then trainable ones.

    The last layer of a subclass is named `classifier`; it has a learning rate of its own.

    Attributes:
        affect: optional layer from the embedding to valence and arousal, before tanh.
    """

    classifier: nn.Linear
    has_frozen_layers: bool = False
    regions: tuple[Region, ...] = ()
    """Regions of `NetworkOutput.region_weights`, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.affect: nn.Linear | None = None

    def add_affect_head(self) -> None:
        """Add a layer that predicts valence and arousal."""
        self.affect = nn.Linear(self.classifier.in_features, 2)

    def valence_arousal(self, embedding: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch 2"]:
        """Return valence and arousal, -1..1, of a network with an affect head."""
        assert self.affect is not None
        return self.affect(embedding).tanh()

    @abstractmethod
    def frozen_features(self, images: Images) -> Tensor:
        """Apply the frozen layers; the first dimension of the result is the batch."""

    @abstractmethod
    def forward_trainable(self, features: Tensor) -> NetworkOutput:
        """Apply the trainable layers to the result of `frozen_features`."""

    def activation_maps(self, feature_map: FeatureMap) -> Float[Tensor, "batch classes rows columns"]:
        """Return class activation maps: the classifier, without its bias, at every position of a feature map.

        Source:
            Zhou et al. (CVPR 2016). For a head of average pooling and one linear layer Grad-CAM gives the same
            (Selvaraju et al., ICCV 2017, appendix A), up to a factor.
        """
        return F.conv2d(feature_map, self.classifier.weight[:, :, None, None])

    def forward(self, images: Images) -> Float[Tensor, "batch classes"]:
        """Return logits for RGB crops with values 0..255."""
        return self.forward_trainable(self.frozen_features(images)).logits

    def load_pretrained(self, path: Path, images: Images) -> None:
        """Load pretrained weights.

        Args:
            path: weights file.
            images: training faces, for the statistics of batch norms that were folded.

        Raises:
            ModelError: if the network has no pretrained weights, or the file is missing or of another network.
        """
        raise ModelError(f"{type(self).__name__} has no pretrained weights; remove model.pretrained ({path}).")


class ExportModule(nn.Module):
    """A network with every output that is exported.

    They are logits, activation maps and embedding, and, if the network has them, region weights, valence and arousal.
    """

    def __init__(self, network: ExpressionNetwork) -> None:
        super().__init__()
        self.network = network

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs of `forward`, in order."""
        regions = ("regions",) if self.network.regions else ()
        affect = ("valence_arousal",) if self.network.affect is not None else ()
        return ("logits", "maps", "embedding", *regions, *affect)

    def forward(self, images: Images) -> tuple[Tensor, ...]:
        """Return all outputs for RGB crops with values 0..255."""
        output = self.network.forward_trainable(self.network.frozen_features(images))
        maps = self.network.activation_maps(output.feature_map)
        outputs = [output.logits, maps, output.embedding]
        if output.region_weights is not None:
            outputs.append(output.region_weights)
        if self.network.affect is not None:
            outputs.append(self.network.valence_arousal(output.embedding))
        return tuple(outputs)


def trace_graph(network: nn.Module, size: int, *output_names: str) -> bytes:
    """Trace a network in evaluation mode to an ONNX graph with input `images` (N, 3, size, size) and a free N."""
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
            output_names=list(output_names),
            dynamic_axes={name: {0: "batch"} for name in ("images", *output_names)},
        )
        return path.read_bytes()
