"""Building blocks shared by several networks."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FeatureMap = Float[Tensor, "batch channels rows columns"]
Images = Float[Tensor, "batch 3 height width"]

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601), as in Pillow's `convert("L")`."""


class PixelInput(nn.Module):
    """Preprocessing inside the exported graph: grayscale, resize, mean, deviation.

    Args:
        upsample: side in pixels that crops are resized to (bilinear); 0 keeps their size.
        grayscale: replace the color channels by luminance, so that a network trained on gray images treats a color
            photograph as one of them.
        mean: value per channel that is subtracted from pixels 0..255.
        deviation: divisor per channel.

    Raises:
        ValueError: if `upsample` is negative.
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
        if upsample < 0:
            raise ValueError(f"upsample is {upsample}, expected 0 or more pixels")
        self.upsample = upsample
        self.grayscale = grayscale
        self.luminance: Tensor
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("luminance", torch.tensor(LUMINANCE).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Images) -> Float[Tensor, "batch 3 side side"]:
        """Convert pixels 0..255 to the input scale of the network."""
        if self.grayscale:
            images = (images * self.luminance).sum(dim=1, keepdim=True)
        if self.upsample:
            images = F.interpolate(images, size=(self.upsample, self.upsample), mode="bilinear")
        return (images - self.mean) / self.deviation


class HalvingPad(nn.Module):
    """Zero padding of TensorFlow's SAME mode for a 3 x 3 convolution with stride 2.

    An even side is padded at its end only, where torch would pad both ends; an odd side is padded at both.
    """

    def forward(self, features: FeatureMap) -> Float[Tensor, "batch channels padded_rows padded_columns"]:
        """Pad the feature map."""
        rows, columns = features.shape[2:]
        return F.pad(features, (columns % 2, 1, rows % 2, 1))


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, ReLU6, with TensorFlow's SAME padding."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        border = kernel // 2 if stride == 1 else 0
        padding = HalvingPad() if stride == 2 else nn.Identity()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=border, groups=groups, bias=False)
        norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        super().__init__(padding, convolution, norm, nn.ReLU6())

    @property
    def convolution(self) -> nn.Conv2d:
        """The convolution, without bias."""
        return cast(nn.Conv2d, self[1])

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The batch norm after the convolution."""
        return cast(nn.BatchNorm2d, self[2])


class DepthwiseSeparable(nn.Sequential):
    """MobileNetV1's block: a depthwise 3 x 3 convolution, then a pointwise one."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__(ConvUnit(inputs, inputs, kernel=3, stride=stride, groups=inputs), ConvUnit(inputs, outputs))


@torch.no_grad()
def restore_norm(norm: nn.BatchNorm2d, outputs: FeatureMap, bias: Float[Tensor, " channels"]) -> None:
    """Restore a batch norm that was folded into the preceding convolution; the function stays the same.

    With mean m and variance v of the convolution's outputs: running_mean = m, running_var = v, gamma = sqrt(v + eps)
    and beta = bias + m.

    Args:
        norm: batch norm to fill.
        outputs: outputs of the folded convolution, without its bias, for a few hundred training faces.
        bias: bias of the folded convolution.
    """
    mean = outputs.mean(dim=(0, 2, 3))
    variance = outputs.var(dim=(0, 2, 3), unbiased=False)
    norm.load_state_dict(
        {
            "running_mean": mean,
            "running_var": variance,
            "weight": (variance + norm.eps).sqrt(),
            "bias": bias.float() + mean,
            "num_batches_tracked": torch.tensor(0),
        }
    )
