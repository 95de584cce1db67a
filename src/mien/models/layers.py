"""Building blocks that several networks share."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601), as Pillow's `convert("L")` uses them."""


class PixelInput(nn.Module):
    """What stands between an image and a network: gray, size, mean, deviation, all inside the exported graph.

    Args:
        upsample: side that crops are enlarged to (bilinear); 0 leaves them.
        grayscale: reduce to brightness, repeated over three channels. A network that has learned from gray images alone
            then sees a color photograph as one of them.
        mean: subtracted from the 0..255 pixels of each channel.
        deviation: they are divided by it.
    """

    def __init__(
        self,
        *,
        upsample: int = 0,
        grayscale: bool = False,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        deviation: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.upsample, self.grayscale = upsample, grayscale
        self.luminance: Tensor
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("luminance", torch.tensor(LUMINANCE).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 side side"]:
        """Pixels 0..255 to the network's own scale."""
        if self.grayscale:
            images = (images * self.luminance).sum(dim=1, keepdim=True)
        if self.upsample:
            images = F.interpolate(images, size=(self.upsample, self.upsample), mode="bilinear")
        return (images - self.mean) / self.deviation


class HalvingPad(nn.Module):
    """The zeros that TensorFlow's SAME puts around a map before a 3 x 3 convolution with stride 2.

    An even side gets one at its end only, where torch would pad both ends; an odd side gets one at both.
    """

    def forward(
        self, features: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels padded_rows padded_columns"]:
        """The map with zeros around it."""
        rows, columns = features.shape[2:]
        return F.pad(features, (columns % 2, 1, rows % 2, 1))


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, ReLU6, with TensorFlow's SAME padding."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        border = kernel // 2 if stride == 1 else 0
        padding = HalvingPad() if stride == 2 else nn.Identity()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=border, groups=groups, bias=False)
        norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        super().__init__(padding, convolution, norm, nn.ReLU6())

    @property
    def convolution(self) -> nn.Conv2d:
        """The convolution, which has no bias."""
        return cast(nn.Conv2d, self[1])

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The batch norm behind it."""
        return cast(nn.BatchNorm2d, self[2])


class DepthwiseSeparable(nn.Sequential):
    """MobileNetV1's block: a 3 x 3 convolution in every channel, then a 1 x 1 across channels."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(
            ConvUnit(inputs, inputs, kernel=3, stride=stride, groups=inputs), ConvUnit(inputs, outputs)
        )


@torch.no_grad()
def restore_norm(
    norm: nn.BatchNorm2d,
    outputs: Float[Tensor, "batch channels rows columns"],
    bias: Float[Tensor, " channels"],
) -> None:
    """Make a batch norm of one that was folded into the convolution before it, so that the function stays.

    Of the convolution's outputs the mean m and variance v are measured; then running_mean = m, running_var = v,
    gamma = sqrt(v + eps) and beta = bias + m.

    Args:
        norm: to be filled.
        outputs: the folded convolution's, without its bias, for a few hundred training faces.
        bias: the folded convolution's.
    """
    mean, variance = outputs.mean(dim=(0, 2, 3)), outputs.var(dim=(0, 2, 3), unbiased=False)
    norm.load_state_dict(
        {
            "running_mean": mean,
            "running_var": variance,
            "weight": (variance + norm.eps).sqrt(),
            "bias": bias.float() + mean,
            "num_batches_tracked": torch.tensor(0),
        }
    )
