"""Networks that turn a face into features."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.errors import ModelError
from mien.models.layers import ConvUnit, DepthwiseSeparable, PixelInput, restore_norm
from mien.models.mesh_trunk import CHANNELS as MESH_CHANNELS
from mien.models.mesh_trunk import load_mesh, mesh_stages
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
        grayscale: see brightness alone.
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
        """The layers that do not learn."""
        return nn.Sequential(*self._units[: self.split])

    @property
    def trunk(self) -> nn.Sequential:
        """The layers that do."""
        return nn.Sequential(*self._units[self.split :])

    @property
    def _units(self) -> list[nn.Module]:
        return [unit for stage in self.stages for unit in cast(nn.Sequential, stage)]

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

    def load_pretrained(self, path: Path, images: Float[Tensor, "batch 3 height width"]) -> None:
        """Start the trunk from a face-recognition network; see `load_folded`."""
        load_folded(self, path, self.pixels(images))


def _face_stages(blocks: int = len(_STRIDES)) -> list[nn.Module]:
    """The stem and the blocks of MobileNetV1, in stages of equal resolution (the first: the stem and three blocks)."""
    stem = ConvUnit(3, _CHANNELS[0], kernel=3, stride=2)
    units = [
        stem,
        *(
            DepthwiseSeparable(_CHANNELS[place], _CHANNELS[place + 1], stride=_STRIDES[place])
            for place in range(blocks)
        ),
    ]
    stages = [nn.Sequential(*units[first:last]) for first, last in ((0, 4), (4, 6), (6, 12), (12, 14))]
    return [stage for stage in stages if len(stage)]


def _resnet_stages() -> list[nn.Module]:
    """ResNet-50 (He et al., CVPR 2016) from torchvision."""
    from torchvision.models import resnet50

    net = resnet50(weights=None)
    stem = (net.conv1, net.bn1, net.relu, net.maxpool)
    return [nn.Sequential(*stem, *net.layer1), net.layer2, net.layer3, net.layer4]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A trunk in four stages: the first quarters rows and columns, each further one halves them.

    Attributes:
        build: makes the stages, with random weights.
        load: fills the stages from a file; the tensor holds training faces as the first stage takes them.
        channels: that each stage gives.
        mean: of the 0..255 pixels, subtracted before the first stage.
        deviation: what they are divided by.
    """

    build: Callable[[], list[nn.Module]]
    load: Callable[[nn.Module, Path, Tensor], None]
    channels: tuple[int, int, int, int]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


def load_resnet(stages: nn.Module, path: Path, features: Tensor) -> None:
    """Fill the stages from torchvision's weights: their file (.pth or .safetensors), or `imagenet` to fetch it.

    Raises:
        ModelError: when the file is missing or of another network.
    """
    weights = _fetch_imagenet() if path.name == "imagenet" else _read_weights(path)
    try:
        stages.load_state_dict(
            {_stage_name(name): value for name, value in weights.items() if name[:2] != "fc"}
        )
    except RuntimeError as error:
        raise ModelError(
            f"{path} is not torchvision's ResNet-50: {str(error).splitlines()[1].strip()}"
        ) from None


def _stage_name(name: str) -> str:
    """The published name of a weight as our stages have it: `layer1.0.bn1.bias` is `0.4.bn1.bias`."""
    part, *rest = name.split(".")
    if part in ("conv1", "bn1"):
        return ".".join(("0", str(("conv1", "bn1").index(part)), *rest))
    if part == "layer1":
        return ".".join(("0", str(int(rest[0]) + 4), *rest[1:]))
    return ".".join((str(int(part[-1]) - 1), *rest)) if part[-1].isdigit() else name


def _fetch_imagenet() -> dict[str, Tensor]:
    from torchvision.models import ResNet50_Weights

    try:
        return dict(ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=True))
    except OSError as error:
        raise ModelError(
            f"ImageNet's weights cannot be fetched ({error}). Give model.pretrained the path of torchvision's file, "
            'or "" to start from random weights.'
        ) from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ModelError(
            f"no pretrained weights at {path}. Give model.pretrained the path of a file that is there, "
            'or "" to start from random weights.'
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # torch's own message would advise to run code from the file
        raise ModelError(f"{path} holds no weights that can be read safely.") from None


@torch.no_grad()
def load_folded(network: nn.Module, path: Path, features: Float[Tensor, "batch 3 height width"]) -> None:
    """Fill the `ConvUnit`s of a MobileNetV1 from folded weights, batch norms put back (see `restore_norm`).

    Args:
        network: its `ConvUnit`s in order are the stem and, block by block, depthwise and pointwise.
        path: safetensors with `stem.*`, `blocks.{i}.depthwise.*` and `blocks.{i}.pointwise.*`, weight and bias.
        features: a few hundred training faces, as the first unit takes them.

    Raises:
        ModelError: when the file is missing or has other layers.
    """
    folded = _read_weights(path)
    for name, unit in _named_units(network):
        if f"{name}.weight" not in folded:
            raise ModelError(f"{path} has no layer {name!r}.")
        features = _restore_unit(unit, folded[f"{name}.weight"], folded[f"{name}.bias"], features)


def _named_units(network: nn.Module) -> Iterator[tuple[str, ConvUnit]]:
    """The convolutions in order, with the names that the published weights have."""
    units = [module for module in network.modules() if isinstance(module, ConvUnit)]
    yield "stem", units[0]
    for place, unit in enumerate(units[1:]):
        yield f"blocks.{place // 2}.{('depthwise', 'pointwise')[place % 2]}", unit


def _restore_unit(unit: ConvUnit, weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
    """Fill one unit from a folded layer; returns its output for the measuring images."""
    unit.convolution.weight.copy_(weight.float())
    outputs = unit.convolution(unit[0](features))  # the padding stands first
    restore_norm(unit.norm, outputs, bias)
    was_training = unit.training
    result = unit.eval()(features)
    unit.train(was_training)
    return result


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
"""Trunks that `HybridNet` can be built on."""
