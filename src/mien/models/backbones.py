"""Networks that turn a face into features."""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ModelError
from mien.models.layers import ConvUnit, DepthwiseSeparable, PixelInput
from mien.models.network import ExpressionNetwork, Reading

_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class FaceMobileNet(ExpressionNetwork):
    """MobileNetV1 with a linear head; its trunk can start from a face-recognition network.

    Args:
        classes: number of logits.
        blocks: depthwise-separable blocks kept of the trunk, 1..13.
        frozen: how many of them keep their pretrained weights and statistics, the stem too when it is not 0.
        upsample: side that crops are enlarged to inside the network; 0 leaves them.
        grey: see brightness alone.
        dropout: share of features dropped before the head.

    Source:
        Howard et al. (2017), "MobileNets". Trunk weights: HSE-FaceRes (A. Savchenko), see NOTICE.
    """

    def __init__(
        self,
        classes: int,
        *,
        blocks: int = 13,
        frozen: int = 0,
        upsample: int = 0,
        grey: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0 <= frozen < blocks <= len(_STRIDES):
            raise ModelError(f"expected 0 <= frozen < blocks <= {len(_STRIDES)}, got {frozen} and {blocks}.")
        units = [
            ConvUnit(3, _CHANNELS[0], kernel=3, stride=2),
            *(
                DepthwiseSeparable(_CHANNELS[place], _CHANNELS[place + 1], stride=_STRIDES[place])
                for place in range(blocks)
            ),
        ]
        split = frozen + 1 if frozen else 0
        self.pixels = PixelInput(upsample=upsample, grey=grey)
        self.fixed = nn.Sequential(*units[:split])
        self.trunk = nn.Sequential(*units[split:])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.classifier = nn.Linear(_CHANNELS[blocks], classes)
        self.fixed.requires_grad_(False)
        self.has_frozen_layers = frozen > 0

    def train(self, mode: bool = True) -> "FaceMobileNet":
        """Training mode for the trunk and the head; the frozen layers keep their statistics."""
        super().train(mode)
        self.fixed.eval()
        return self

    def frozen_features(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Pixels through the layers that do not learn."""
        return self.fixed(self.pixels(images))

    def read(self, features: Float[Tensor, "batch channels rows columns"]) -> Reading:
        """Logits and the trunk's last map from what `frozen_features` gave."""
        feature_map = self.trunk(features)
        return Reading(self.classifier(self.head(feature_map)), feature_map, None)

    @torch.no_grad()
    def load_pretrained(self, path: Path, images: Float[Tensor, "batch 3 height width"]) -> None:
        """Start the trunk from folded weights, with batch norms put back so that the function stays the same.

        For every layer the mean m and variance v of the convolution's output are measured on `images` (a few hundred
        training faces); then running_mean = m, running_var = v, gamma = sqrt(v + eps) and beta = bias + m.

        Args:
            path: safetensors with `stem.*`, `blocks.{i}.depthwise.*` and `blocks.{i}.pointwise.*`, weight and bias.
            images: crops with values 0..255.

        Raises:
            ModelError: when the file is missing or has other layers.
        """
        from safetensors.torch import load_file

        if not path.is_file():
            raise ModelError(f"no pretrained weights at {path}.")
        folded = load_file(path)
        features = self.pixels(images)
        for name, unit in self._named_units():
            if f"{name}.weight" not in folded:
                raise ModelError(f"{path} has no layer {name!r}.")
            features = _restore_unit(unit, folded[f"{name}.weight"], folded[f"{name}.bias"], features)

    def _named_units(self) -> Iterator[tuple[str, ConvUnit]]:
        """The convolutions in order, with the names that the published weights have."""
        units = [module for module in self.modules() if isinstance(module, ConvUnit)]
        yield "stem", units[0]
        for place, unit in enumerate(units[1:]):
            yield f"blocks.{place // 2}.{('depthwise', 'pointwise')[place % 2]}", unit


def _restore_unit(unit: ConvUnit, weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
    """Fill one unit from a folded layer; returns its output for the measuring images."""
    unit.convolution.weight.copy_(weight.float())
    outputs = unit.convolution(unit[0](features))  # the padding stands first
    mean, variance = outputs.mean(dim=(0, 2, 3)), outputs.var(dim=(0, 2, 3), unbiased=False)
    norm = unit.norm
    norm.load_state_dict(
        {
            "running_mean": mean,
            "running_var": variance,
            "weight": (variance + norm.eps).sqrt(),
            "bias": bias.float() + mean,
            "num_batches_tracked": torch.tensor(0),
        }
    )
    was_training = unit.training
    result = unit.eval()(features)
    unit.train(was_training)
    return result
