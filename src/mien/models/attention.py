"""Attention over channels and positions of a feature map, and over the regions of a face."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.models.layers import FeatureMap


class Modulator(nn.Module):
    """EfficientFace's channel-spatial modulator: features times sigmoid(channel gate * spatial gate).

    Args:
        channels: channels of the feature map.
        reduction: channels divided by the width of the gates' hidden layers.
        dilation: dilation of the spatial gate's 3 x 3 convolutions.
        neutral: initialize as the identity (channel gate 0, product doubled), so that a modulator can be added to a
            trained network without changing its function. False is the published form.

    Source:
        Zhao, Liu, Zhou (AAAI 2021), section 3.2, and their code: the gates of BAM (Park et al., BMVC 2018), multiplied
        where BAM adds them.
    """

    def __init__(self, channels: int, *, reduction: int = 16, dilation: int = 4, neutral: bool = False) -> None:
        super().__init__()
        hidden = channels // reduction
        last = nn.Linear(hidden, channels)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), last
        )
        self.spatial = nn.Sequential(
            *_convolution(channels, hidden, kernel=1, dilation=1),
            *_convolution(hidden, hidden, kernel=3, dilation=dilation),
            *_convolution(hidden, hidden, kernel=3, dilation=dilation),
            nn.Conv2d(hidden, 1, 1),
        )
        self.gain = 2.0 if neutral else 1.0
        if neutral:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, features: FeatureMap) -> FeatureMap:
        """Scale every value of the feature map by its gate."""
        gates = self.channel(features)[:, :, None, None] * self.spatial(features)
        return self.gain * torch.sigmoid(gates) * features


def _convolution(inputs: int, outputs: int, *, kernel: int, dilation: int) -> tuple[nn.Module, ...]:
    padding = dilation * (kernel // 2)
    return (nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation), nn.BatchNorm2d(outputs), nn.ReLU())


class RegionAttention(nn.Module):
    """Weights of the regions of a face: softmax over one score per region, uniform at initialization.

    Args:
        regions: number of regions; each has its own score function.
        channels: channels of their features.

    Source:
        Inspired by RAN (Wang et al., TIP 2020), which shares one score function and uses sigmoid weights.
    """

    def __init__(self, regions: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(regions, channels))
        self.bias = nn.Parameter(torch.zeros(regions))

    def forward(self, pooled: Float[Tensor, "batch regions channels"]) -> Float[Tensor, "batch regions"]:
        """Return weights; rows sum to 1."""
        return ((pooled * self.weight).sum(dim=2) + self.bias).softmax(dim=1)
