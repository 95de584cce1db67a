"""Attention: over channels and places of a feature map, and over the regions of a face."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Modulator(nn.Module):
    """EfficientFace's channel-spatial modulator: every value times sigmoid(channel gate * spatial gate).

    Args:
        channels: of the feature map.
        reduction: of the gates' hidden layers.
        dilation: of the spatial gate's 3 x 3 convolutions.
        neutral: start as the identity (the channel gate at 0 and the product doubled), so that a trained network can be
            given a modulator without losing what it knows. False is the published form.

    Source:
        Zhao, Liu, Zhou (AAAI 2021), section 3.2, and their code: the gates of BAM (Park et al., BMVC 2018), multiplied
        where BAM adds them.
    """

    def __init__(
        self, channels: int, *, reduction: int = 16, dilation: int = 4, neutral: bool = False
    ) -> None:
        super().__init__()
        hidden = channels // reduction
        last = nn.Linear(hidden, channels)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            last,
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

    def forward(
        self, features: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The map, with what matters made stronger and the rest weaker."""
        gates = self.channel(features)[:, :, None, None] * self.spatial(features)
        return self.gain * torch.sigmoid(gates) * features


def _convolution(inputs: int, outputs: int, *, kernel: int, dilation: int) -> tuple[nn.Module, ...]:
    border = dilation * (kernel // 2)
    return (
        nn.Conv2d(inputs, outputs, kernel, padding=border, dilation=dilation),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class RegionAttention(nn.Module):
    """How much each region counts for a face: softmax over one score a region, equal at the start.

    Args:
        regions: how many there are; each has a score function of its own.
        channels: of their features.

    Source:
        In the spirit of RAN (Wang et al., TIP 2020), whose score function is shared and whose weights are sigmoids.
    """

    def __init__(self, regions: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(regions, channels))
        self.bias = nn.Parameter(torch.zeros(regions))

    def forward(self, pooled: Float[Tensor, "batch regions channels"]) -> Float[Tensor, "batch regions"]:
        """Weights; rows sum to 1."""
        return ((pooled * self.weight).sum(dim=2) + self.bias).softmax(dim=1)
