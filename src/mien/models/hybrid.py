"""Hybrid network: a global trunk, a local branch with layers per region, attention, and their fusion."""

from pathlib import Path

import torch
from torch import nn

from mien.errors import ModelError
from mien.models.attention import Modulator
from mien.models.backbones import BACKBONES
from mien.models.layers import DepthwiseSeparable, FeatureMap, Images, PixelInput
from mien.models.local import LAYOUTS, REGIONS, LocalFeatureExtractor
from mien.models.network import ExpressionNetwork, NetworkOutput


class HybridNet(ExpressionNetwork):
    """Global and local features of a face, with attention over channels, positions and regions, and their fusion.

    Args:
        classes: number of logits.
        backbone: a key of `BACKBONES`.
        regions: regions of the local branch, a key of `REGIONS`; "none" builds no local branch.
        local_stage: stage (1..3) with the input of the local branch; the output is fused after the next stage.
        attention: add modulators after the trainable stages, and attention weights of the regions. Off by default, like
            the local branch: neither increased accuracy in full runs (docs/models/study.md).
        layout: how the regions' maps are merged, one of `LAYOUTS`.
        fusion: a key of `FUSIONS`.
        frozen: number of stages that keep their pretrained weights and statistics, 0..local_stage.
        upsample: side in pixels that crops are resized to inside the network; 0 keeps their size.
        grayscale: reduce color to luminance.
        dropout: dropout probability before the classifier.

    Source:
        Zhao, Liu, Zhou (AAAI 2021) for the local branch, the modulator and their sum; the rest is original, see
        docs/models/study.md.
    """

    def __init__(
        self,
        classes: int,
        *,
        backbone: str = "face-mobilenet",
        regions: str = "none",
        local_stage: int = 2,
        attention: bool = False,
        layout: str = "tiled",
        fusion: str = "gated",
        frozen: int = 0,
        upsample: int = 0,
        grayscale: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        _check_options(backbone, regions, layout, fusion, local_stage, frozen)
        trunk = BACKBONES[backbone]
        inputs, outputs = trunk.channels[local_stage - 1 : local_stage + 1]
        self.frozen = frozen
        self.local_stage = local_stage
        self.pixels = PixelInput(upsample=upsample, grayscale=grayscale, mean=trunk.mean, deviation=trunk.deviation)
        self.load_stages = trunk.load
        self.stages = nn.ModuleList(trunk.build())
        self.modulators = nn.ModuleList(
            Modulator(channels, neutral=True) if attention and number >= frozen else nn.Identity()
            for number, channels in enumerate(trunk.channels)
        )
        self.local = self.fusion = None
        if regions != "none":
            self.local = _local_branch(regions, inputs, outputs, attention, layout)
            self.fusion = FUSIONS[fusion](outputs)
            self.regions = self.local.regions if attention else ()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.classifier = nn.Linear(trunk.channels[-1], classes)
        self.has_frozen_layers = frozen > 0
        self.stages[:frozen].requires_grad_(False)

    def train(self, mode: bool = True) -> "HybridNet":
        """Set the training mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        self.stages[: self.frozen].eval()
        return self

    def frozen_features(self, images: Images) -> FeatureMap:
        """Apply the input normalization and the frozen stages."""
        features = self.pixels(images)
        for stage in self.stages[: self.frozen]:
            features = stage(features)
        return features

    def forward_trainable(self, features: FeatureMap) -> NetworkOutput:
        """Apply the trainable layers to the result of `frozen_features`."""
        region_weights = None
        for number in range(self.frozen, len(self.stages)):
            inputs = features
            features = self.modulators[number](self.stages[number](inputs))
            if number == self.local_stage and self.local is not None and self.fusion is not None:
                local, region_weights = self.local(inputs)
                features = self.fusion(features, local)
        return NetworkOutput(self.classifier(self.head(features)), features, region_weights)

    def load_pretrained(self, path: Path, images: Images) -> None:
        """Load the trunk from a file; see `Backbone.load`."""
        self.load_stages(self.stages, path, self.pixels(images))


def _check_options(backbone: str, regions: str, layout: str, fusion: str, local_stage: int, frozen: int) -> None:
    for name, value, known in (
        ("backbone", backbone, tuple(BACKBONES)),
        ("regions", regions, (*REGIONS, "none")),
        ("layout", layout, LAYOUTS),
        ("fusion", fusion, tuple(FUSIONS)),
    ):
        if value not in known:
            raise ModelError(f"model.{name} is {value!r}; expected one of {', '.join(known)}.")
    if not 1 <= local_stage <= 3:
        raise ModelError(f"model.local_stage is {local_stage}; expected 1, 2 or 3.")
    if not 0 <= frozen <= local_stage:
        raise ModelError(f"model.frozen is {frozen}; expected 0 to local_stage ({local_stage}).")


def _local_branch(regions: str, inputs: int, outputs: int, attention: bool, layout: str) -> LocalFeatureExtractor:
    def make_layers() -> nn.Module:
        return nn.Sequential(DepthwiseSeparable(inputs, inputs, stride=2), DepthwiseSeparable(inputs, outputs))

    return LocalFeatureExtractor(REGIONS[regions], make_layers, channels=outputs, attention=attention, layout=layout)


class SumFusion(nn.Module):
    """Weighted sum of global and local map; initialized near the global map, to preserve a trained trunk.

    Args:
        channels: channels of each map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, whole: FeatureMap, local: FeatureMap) -> FeatureMap:
        """Fuse the global and the local map."""
        return whole + self.scale * local


class ConcatFusion(nn.Module):
    """1 x 1 convolution of the concatenated maps; initialized near the global map.

    Args:
        channels: channels of each map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, 1, bias=False)
        with torch.no_grad():
            self.mix.weight[:, channels:] *= 0.1
            self.mix.weight[:, :channels] = torch.eye(channels)[:, :, None, None]

    def forward(self, whole: FeatureMap, local: FeatureMap) -> FeatureMap:
        """Fuse the global and the local map."""
        return self.mix(torch.cat([whole, local], dim=1))


class GatedFusion(nn.Module):
    """Global map plus gated local map; the gate per channel is a function of the global averages of both maps.

    Args:
        channels: channels of each map.
        reduction: channels divided by the width of the gate's hidden layer.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        last = nn.Linear(hidden, channels)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, -2.0)  # a gate of 0.12 at initialization
        self.gate = nn.Sequential(nn.Linear(2 * channels, hidden), nn.ReLU(), last, nn.Sigmoid())

    def forward(self, whole: FeatureMap, local: FeatureMap) -> FeatureMap:
        """Fuse the global and the local map."""
        averages = torch.cat([whole.mean(dim=(2, 3)), local.mean(dim=(2, 3))], dim=1)
        return whole + self.gate(averages)[:, :, None, None] * local


FUSIONS: dict[str, type[nn.Module]] = {"sum": SumFusion, "concat": ConcatFusion, "gated": GatedFusion}
"""Fusions of the global and the local map by name."""
