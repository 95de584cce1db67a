"""EfficientFace: ShuffleNetV2 with a local feature extractor and a channel-spatial modulator."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ModelError
from mien.models.attention import Modulator
from mien.models.layers import FeatureMap, Images, PixelInput
from mien.models.local import REGIONS, LocalFeatureExtractor
from mien.models.network import ExpressionNetwork, NetworkOutput

CHANNELS = (29, 116, 232, 464, 1024)
"""Channels after the stem, the three stages and the last convolution."""
REPEATS = (4, 8, 4)
"""Blocks of the three stages."""
MIN_WIDTH = 0.11
"""Minimum factor of the channels: the modulator needs 16 after the first stage."""

_MEAN = (127.5, 127.5, 127.5)
_DEVIATION = (64.0, 64.0, 64.0)


class EfficientFace(ExpressionNetwork):
    """The network of "Robust Lightweight Facial Expression Recognition Network with Label Distribution Training".

    1.28 M parameters; 150 M multiply-adds at 224 px (see `tests/models`). The minimum input side is 32 px.

    Args:
        classes: number of logits.
        upsample: side in pixels that crops are resized to inside the network; 0 keeps their size.
        grayscale: reduce color to luminance.
        dropout: dropout probability before the classifier (0 in the paper).
        width: multiplies the channels of every layer, rounded to multiples of 8; at least `MIN_WIDTH`. 1.0 is the
            published network.
        local: add the local feature extractor over quadrants.
        attention: add the channel-spatial modulator.

    Raises:
        ValueError: if `width` is out of range.

    Source:
        Zhao, Liu, Zhou (AAAI 2021) and their code. The trunk: Ma et al. (ECCV 2018), "ShuffleNet V2", with a stem of 29
        channels that a depthwise convolution expands to 116.
    """

    def __init__(
        self,
        classes: int,
        *,
        upsample: int = 0,
        grayscale: bool = False,
        dropout: float = 0.0,
        width: float = 1.0,
        local: bool = True,
        attention: bool = True,
    ) -> None:
        super().__init__()
        if not MIN_WIDTH <= width < math.inf:
            raise ValueError(f"width is {width}, expected {MIN_WIDTH} or more")
        stem, first, second, third, last = _scaled_channels(width)
        self.pixels = PixelInput(upsample=upsample, grayscale=grayscale, mean=_MEAN, deviation=_DEVIATION)
        self.stem = nn.Sequential(*_unit(3, stem, kernel=3, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
        self.local = _quadrants(stem, first) if local else None
        self.stage2 = _stage(stem, first, REPEATS[0])
        self.modulator = Modulator(first) if attention else nn.Identity()
        self.trunk = nn.Sequential(
            _stage(first, second, REPEATS[1]),
            _stage(second, third, REPEATS[2]),
            *_unit(third, last, kernel=1),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.classifier = nn.Linear(last, classes)

    def frozen_features(self, images: Images) -> Tensor:
        """Return the images unchanged: no layer is frozen."""
        return images

    def forward_trainable(self, features: Images) -> NetworkOutput:
        """Apply the network to crops with values 0..255."""
        pixels = self.pixels(features)
        if min(pixels.shape[2:]) < 32:
            raise ModelError(f"EfficientFace needs images of at least 32 px, got {tuple(pixels.shape[2:])}.")
        early = self.stem(pixels)
        middle = self.modulator(self.stage2(early))
        if self.local is not None:
            middle = middle + self.local(early)[0]
        feature_map = self.trunk(middle)
        return NetworkOutput(self.classifier(self.head(feature_map)), feature_map, None)


def _scaled_channels(width: float) -> tuple[int, ...]:
    """Multiply `CHANNELS` by a factor and round to multiples of 8; 1.0 leaves them unchanged."""
    if width == 1.0:
        return CHANNELS
    return tuple(max(8, 8 * round(channels * width / 8)) for channels in CHANNELS)


def _unit(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outputs)


def _quadrants(inputs: int, outputs: int) -> LocalFeatureExtractor:
    def make_layers() -> nn.Module:
        return nn.Sequential(
            *_unit(inputs, outputs, kernel=3, stride=2, groups=inputs),
            nn.ReLU(),
            *_unit(outputs, outputs, kernel=3, groups=outputs),
            nn.ReLU(),
        )

    return LocalFeatureExtractor(REGIONS["quadrants"], make_layers, channels=outputs, attention=False)


def _stage(inputs: int, outputs: int, repeats: int) -> nn.Sequential:
    return nn.Sequential(_Halving(inputs, outputs), *(_Shuffled(outputs) for _ in range(repeats - 1)))


class _Shuffled(nn.Module):
    """ShuffleNetV2's basic unit: half of the channels bypass the convolutions, then both halves are shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *_unit(half, half, kernel=1),
            nn.ReLU(),
            *_unit(half, half, kernel=3, groups=half),
            *_unit(half, half, kernel=1),
            nn.ReLU(),
        )

    def forward(self, features: FeatureMap) -> FeatureMap:
        shortcut, processed = features.chunk(2, dim=1)
        return _interleave(shortcut, self.branch(processed))


class _Halving(nn.Module):
    """ShuffleNetV2's downsampling unit: two convolution branches, both with stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.short = nn.Sequential(
            *_unit(inputs, inputs, kernel=3, stride=2, groups=inputs), *_unit(inputs, half, kernel=1), nn.ReLU()
        )
        self.long = nn.Sequential(
            *_unit(inputs, half, kernel=1),
            nn.ReLU(),
            *_unit(half, half, kernel=3, stride=2, groups=half),
            *_unit(half, half, kernel=1),
            nn.ReLU(),
        )

    def forward(self, features: FeatureMap) -> Float[Tensor, "batch outputs halfrows halfcolumns"]:
        return _interleave(self.short(features), self.long(features))


def _interleave(first: FeatureMap, second: FeatureMap) -> Float[Tensor, "batch doubled rows columns"]:
    """Alternate the channels of two maps (a channel shuffle of two groups)."""
    return torch.stack([first, second], dim=2).flatten(1, 2)
