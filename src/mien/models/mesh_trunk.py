"""Trunk of MediaPipe's face mesh, pretrained to locate 478 landmarks."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from google.protobuf.message import DecodeError
from jaxtyping import Float
from onnx import NodeProto, numpy_helper
from torch import Tensor, nn

from mien.errors import ModelError, UnknownModelError
from mien.models.layers import FeatureMap, HalvingPad, Images, restore_norm
from mien.runtime import find_model

CHANNELS = (16, 32, 64, 128, 128)
"""Channels of the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's rows and columns."""
BLOCKS = 4
"""Blocks at each of these sizes, in addition to the downsampling one."""


class MeshBlock(nn.Module):
    """Residual bottleneck block: reduce channels, depthwise 3 x 3 convolution, expand channels.

    Args:
        inputs: input channels.
        outputs: output channels; the shortcut is zero for those beyond `inputs`.
        stride: 2 halves rows and columns, by a 2 x 2 convolution and, in the shortcut, max pooling.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        hidden = outputs // 2
        self.new_channels = outputs - inputs
        self.stride = stride
        self.reduce = nn.Conv2d(inputs, hidden, stride, stride, bias=False)
        self.reduce_norm = nn.BatchNorm2d(hidden, eps=1e-3, momentum=0.01)
        self.reduce_slope = nn.PReLU(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.expand = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.slope = nn.PReLU(outputs)

    def forward(self, features: FeatureMap) -> Float[Tensor, "batch outputs newrows newcolumns"]:
        """Apply the block."""
        shortcut = features
        if self.stride == 2:
            rows, columns = features.shape[2:]
            features = F.pad(features, (0, columns % 2, 0, rows % 2))
            shortcut = F.pad(F.max_pool2d(features, 2), (0, 0, 0, 0, 0, self.new_channels))
        reduced = self.reduce_slope(self.reduce_norm(self.reduce(features)))
        return self.slope(shortcut + self.expand_norm(self.expand(self.depthwise(reduced))))


def mesh_stages() -> list[nn.Module]:
    """Build the four stages with random weights; the first contains the stem and two sizes."""
    norm = nn.BatchNorm2d(CHANNELS[0], eps=1e-3, momentum=0.01)
    stem = [HalvingPad(), nn.Conv2d(3, CHANNELS[0], 3, 2, bias=False), norm, nn.PReLU(CHANNELS[0])]
    first = [*stem, *_blocks(CHANNELS[0])]
    stages = [[MeshBlock(inputs, outputs, stride=2), *_blocks(outputs)] for inputs, outputs in pairwise(CHANNELS)]
    return [nn.Sequential(*first, *stages[0]), *(nn.Sequential(*stage) for stage in stages[1:])]


def _blocks(channels: int) -> list[nn.Module]:
    return [MeshBlock(channels, channels) for _ in range(BLOCKS)]


@torch.no_grad()
def load_mesh(stages: nn.Module, path: Path, features: Images) -> None:
    """Load the weights of the landmark mesh, with its batch norms restored (see `restore_norm`).

    Args:
        stages: result of `mesh_stages`.
        path: `face-landmarks`, the name of the shipped model, or the path of its file.
        features: a few hundred training faces, as input of the first stage.

    Raises:
        ModelError: if the file is missing or of another network.
    """
    weights = _read_layers(path)
    was_training = stages.training
    stages.eval()
    bias = torch.zeros(0)
    hooks = []
    try:
        for layer in stages.modules():  # in the order of the published graph
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_(next(weights))
                bias = next(weights)
                if layer.bias is not None:
                    layer.bias.copy_(bias)
            elif isinstance(layer, nn.BatchNorm2d):
                hooks.append(layer.register_forward_pre_hook(partial(_restore, bias)))
            elif isinstance(layer, nn.PReLU):
                layer.weight.copy_(next(weights))
    except (UnknownModelError, DecodeError, KeyError, StopIteration, RuntimeError):
        raise ModelError(
            f"{path} is not MediaPipe's face mesh as mien ships it. Set model.pretrained=face-landmarks."
        ) from None
    for stage in cast(nn.ModuleList, stages):
        features = stage(features)
    for hook in hooks:
        hook.remove()
    stages.train(was_training)


def _restore(bias: Tensor, norm: nn.Module, inputs: tuple[Tensor]) -> None:
    restore_norm(cast(nn.BatchNorm2d, norm), inputs[0], bias)


def _read_layers(path: Path) -> Iterator[Tensor]:
    """Yield weight and bias of every convolution and the slopes of every PReLU, in graph order.

    The graph computes a PReLU as x + (1 - slope) relu(-x), with convolutions without bias, or folds it into the kernels
    of three convolutions (see recipes/lighten_landmarks.py). Kernels are computed from the stored ones in the graph.
    """
    graph = onnx.load(find_model(path)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}

    def tensor(name: str) -> Tensor:
        while name not in stored:
            name = makers[name].input[0]
        return torch.from_numpy(stored[name].astype(np.float32))

    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3:
            if slopes := _folded_slopes(makers[node.input[1]], makers):
                yield tensor(slopes).flatten()
            yield from map(tensor, node.input[1:])
        elif node.op_type == "Conv" and makers[node.input[0]].op_type == "Relu":
            yield 1 - tensor(node.input[1]).flatten()


def _folded_slopes(kernels: NodeProto, makers: dict[str, NodeProto]) -> str | None:
    """Return the name of the slopes of the PReLU that is folded into the kernels, or None."""
    second = makers[kernels.input[1]] if kernels.op_type == "Concat" else kernels
    return second.input[1] if second.op_type == "Mul" else None
