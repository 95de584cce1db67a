"""Convolutional trunks, their pretrained weights, and the network `FaceMobileNet`."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from mien.errors import ModelError
from mien.models.layers import ConvUnit, DepthwiseSeparable, FeatureMap, Images, PixelInput, restore_norm
from mien.models.mesh_trunk import CHANNELS as MESH_CHANNELS
from mien.models.mesh_trunk import load_mesh, mesh_stages
from mien.models.network import ExpressionNetwork, NetworkOutput

_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class FaceMobileNet(ExpressionNetwork):
    """MobileNetV1 with a linear head; its trunk can be initialized from a face-recognition network.

    Args:
        classes: number of logits.
        blocks: number of depthwise-separable blocks, 1..13.
        frozen: number of blocks that keep their pretrained weights and statistics; above 0 the stem does too.
        upsample: side in pixels that crops are resized to inside the network; 0 keeps their size.
        grayscale: reduce color to luminance.
        dropout: dropout probability before the classifier.

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
        grayscale: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0 <= frozen < blocks <= len(_STRIDES):
            raise ModelError(f"expected 0 <= frozen < blocks <= {len(_STRIDES)}, got {frozen} and {blocks}.")
        self.pixels = PixelInput(upsample=upsample, grayscale=grayscale)
        self.stages = nn.ModuleList(_face_stages(blocks))
        self.split = frozen + 1 if frozen else 0
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout))
        self.classifier = nn.Linear(_CHANNELS[blocks], classes)
        self.has_frozen_layers = frozen > 0
        self.fixed.requires_grad_(False)

    @property
    def fixed(self) -> nn.Sequential:
        """The frozen layers."""
        return nn.Sequential(*self._units[: self.split])

    @property
    def trunk(self) -> nn.Sequential:
        """The trainable layers before the head."""
        return nn.Sequential(*self._units[self.split :])

    @property
    def _units(self) -> list[nn.Module]:
        return [unit for stage in self.stages for unit in cast(nn.Sequential, stage)]

    def train(self, mode: bool = True) -> "FaceMobileNet":
        """Set the training mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        self.fixed.eval()
        return self

    def frozen_features(self, images: Images) -> FeatureMap:
        """Apply the input normalization and the frozen layers."""
        return self.fixed(self.pixels(images))

    def forward_trainable(self, features: FeatureMap) -> NetworkOutput:
        """Apply the trainable layers to the result of `frozen_features`."""
        feature_map = self.trunk(features)
        return NetworkOutput(self.classifier(self.head(feature_map)), feature_map, None)

    def load_pretrained(self, path: Path, images: Images) -> None:
        """Load the trunk from a face-recognition network; see `load_folded`."""
        load_folded(self, path, self.pixels(images))


def _face_stages(blocks: int = len(_STRIDES)) -> list[nn.Module]:
    """Build stem and blocks of MobileNetV1 in up to four stages; the first contains the stem and three blocks."""
    units: list[nn.Module] = [ConvUnit(3, _CHANNELS[0], kernel=3, stride=2)]
    for (inputs, outputs), stride in zip(pairwise(_CHANNELS[: blocks + 1]), _STRIDES[:blocks], strict=True):
        units.append(DepthwiseSeparable(inputs, outputs, stride=stride))
    stages = [nn.Sequential(*units[first:last]) for first, last in ((0, 4), (4, 6), (6, 12), (12, 14))]
    return [stage for stage in stages if len(stage)]


def _resnet_stages() -> list[nn.Module]:
    """Build torchvision's ResNet-50 (He et al., CVPR 2016) in four stages."""
    from torchvision.models import resnet50

    net = resnet50(weights=None)
    stem = (net.conv1, net.bn1, net.relu, net.maxpool)
    return [nn.Sequential(*stem, *net.layer1), net.layer2, net.layer3, net.layer4]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A trunk in four stages; the first divides rows and columns by 4, each further one by 2.

    Attributes:
        build: builds the stages with random weights.
        load: loads the stages from a file; the tensor holds training faces as input of the first stage.
        channels: output channels of each stage.
        mean: value per channel that is subtracted from pixels 0..255.
        deviation: divisor per channel.
    """

    build: Callable[[], list[nn.Module]]
    load: Callable[[nn.Module, Path, Tensor], None]
    channels: tuple[int, int, int, int]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


def load_resnet(stages: nn.Module, path: Path, features: Tensor) -> None:
    """Load torchvision's weights from a file (.pth or .safetensors), or download them for the path `imagenet`.

    Raises:
        ModelError: if the file is missing or of another network.
    """
    weights = _download_imagenet() if path.name == "imagenet" else _read_weights(path)
    try:
        stages.load_state_dict({_stage_name(name): value for name, value in weights.items() if name[:2] != "fc"})
    except RuntimeError as error:
        raise ModelError(f"{path} is not torchvision's ResNet-50: {str(error).splitlines()[1].strip()}") from None


def _stage_name(name: str) -> str:
    """Map a torchvision weight name to its name in the stages: `layer1.0.bn1.bias` to `0.4.bn1.bias`."""
    part, *rest = name.split(".")
    if part in ("conv1", "bn1"):
        return ".".join(("0", str(("conv1", "bn1").index(part)), *rest))
    if part == "layer1":
        return ".".join(("0", str(int(rest[0]) + 4), *rest[1:]))
    return ".".join((str(int(part[-1]) - 1), *rest)) if part[-1].isdigit() else name


def _download_imagenet() -> dict[str, Tensor]:
    from torchvision.models import ResNet50_Weights

    try:
        return dict(ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=True))
    except OSError as error:
        raise ModelError(
            f"cannot download the ImageNet weights ({error}). Set model.pretrained to the path of torchvision's file, "
            'or to "" for random weights.'
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(
            f"no pretrained weights at {path}. Set model.pretrained to the path of an existing file, "
            'or to "" for random weights.'
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # torch's message advises to run code from the file
        raise ModelError(f"{path} contains no weights that can be read safely.") from None


@torch.no_grad()
def load_folded(network: nn.Module, path: Path, features: Images) -> None:
    """Load folded weights into the `ConvUnit`s of a MobileNetV1, with batch norms restored (see `restore_norm`).

    Args:
        network: contains the `ConvUnit`s in order: the stem, then depthwise and pointwise of every block.
        path: safetensors with `stem.*`, `blocks.{i}.depthwise.*` and `blocks.{i}.pointwise.*`, weight and bias.
        features: a few hundred training faces, as input of the first unit.

    Raises:
        ModelError: if the file is missing or has other layers.
    """
    folded = _read_weights(path)
    units = [module for module in network.modules() if isinstance(module, ConvUnit)]
    blocks = (f"blocks.{number}.{part}" for number in range(len(units) // 2) for part in ("depthwise", "pointwise"))
    for name, unit in zip(("stem", *blocks), units, strict=True):
        if f"{name}.weight" not in folded:
            raise ModelError(f"{path} has no layer {name!r}.")
        unit.convolution.weight.copy_(folded[f"{name}.weight"].float())
        padding = unit[0]
        restore_norm(unit.norm, unit.convolution(padding(features)), folded[f"{name}.bias"])
        was_training = unit.training
        features = unit.eval()(features)
        unit.train(was_training)


BACKBONES: dict[str, Backbone] = {
    "face-mobilenet": Backbone(build=_face_stages, load=load_folded, channels=(128, 256, 512, 1024)),
    "face-mesh": Backbone(
        build=mesh_stages, load=load_mesh, channels=MESH_CHANNELS[1:], deviation=(255.0, 255.0, 255.0)
    ),
    "resnet50": Backbone(
        build=_resnet_stages,
        load=load_resnet,
        channels=(256, 512, 1024, 2048),
        mean=(123.675, 116.28, 103.53),
        deviation=(58.395, 57.12, 57.375),
    ),
}
"""Trunks of `HybridNet` by name."""
