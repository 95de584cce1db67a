"""Networks of exported models in torch, structured pruning, simulated quantization, and a small MobileNetV3."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from onnx import NodeProto, numpy_helper
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mien.errors import ModelError
from mien.export.weights import read_graph
from mien.models.attention import RegionAttention
from mien.models.efficientface import EfficientFace
from mien.models.layers import PixelInput, restore_norm
from mien.models.network import ExpressionNetwork, NetworkOutput

BATCH = 100
"""Faces per forward pass."""
Layer = nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d | RegionAttention


@torch.no_grad()
def load_exported(network: ExpressionNetwork, path: Path, images: Tensor) -> None:
    """Load the weights of an exported model into the network that it was exported from.

    The export folds batch norms into convolutions; they are restored with the statistics of `images`, so that the
    network computes the same function and can be trained further (see `restore_norm`).

    Args:
        network: a network with the layers of the exported one, in the same order.
        path: an .onnx file with weights of any type, computed in float32.
        images: (N, 3, S, S) a few hundred training faces, 0..255.

    Raises:
        ModelError: if the layers differ.
    """
    nodes = iter(_stored_layers(path))
    bias = torch.zeros(0)

    def load(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        nonlocal bias
        if isinstance(layer, nn.BatchNorm2d):
            restore_norm(layer, inputs[0], bias)
            return
        kind, tensors = next(nodes)
        weight, *rest = tensors
        if weight.numel() != layer.weight.numel():
            raise ModelError(f"{path}: {kind} of shape {tuple(weight.shape)} does not fit {layer}.")
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        bias = rest[0]
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.copy_(rest[1])
            layer.running_var.copy_(rest[2])
        if layer.bias is not None:
            # A convolution before a batch norm keeps a bias of 0: the norm has it.
            layer.bias.copy_(bias * (layer not in normalized))

    layers = [layer for layer in network.modules() if isinstance(layer, Layer)]
    normalized = {layer for layer, after in pairwise(layers) if isinstance(after, nn.BatchNorm2d)}
    hooks = [layer.register_forward_pre_hook(load) for layer in layers]
    network.eval()(images)
    for hook in hooks:
        hook.remove()


def _stored_layers(path: Path) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield type and tensors of every layer with weights, in order of execution."""
    graph = read_graph(path.read_bytes()).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def stored(node: NodeProto) -> list[Tensor]:
        return [torch.from_numpy(tensors[name].copy()) for name in node.input if name in tensors]

    for place, node in enumerate(graph.node):
        if node.op_type in ("Conv", "Gemm", "BatchNormalization") and len(stored(node)) > 1:
            yield node.op_type, stored(node)
        elif node.op_type == "Softmax":
            # RegionAttention: Mul with the weights, ReduceSum, Add with the biases, Softmax.
            yield "Mul", [stored(graph.node[place - 3])[0], stored(graph.node[place - 1])[0]]


@torch.no_grad()
def prune(network: EfficientFace, images: Tensor, keep: float, last: int) -> None:
    """Remove the weakest hidden channels of every ShuffleNetV2 branch, and of the last convolution.

    The strength of a channel is the standard deviation of its values times the norm of the weights that read it. The
    layer that reads the remaining channels is fitted again by least squares, to return what it returned before.

    Args:
        network: a network with its batch norms in use.
        images: (N, 3, S, S) training faces, 0..255; N above the channels of the last convolution.
        keep: share of the channels between the two pointwise convolutions of a branch, rounded to multiples of 4.
        last: channels of the last convolution.

    Source:
        Li et al. (ICLR 2017), "Pruning filters for efficient ConvNets", for norms; He, Zhang, Sun (ICCV 2017), "Channel
        pruning for accelerating very deep neural networks", for least squares.
    """
    inputs: dict[nn.Module, Tensor] = {}
    branches = [module for name, module in network.named_modules() if name.endswith(("branch", "long"))]
    readers = [branch[5] for branch in branches]
    hooks = [
        reader.register_forward_pre_hook(lambda layer, args: inputs.update({layer: args[0]})) for reader in readers
    ]
    embedding = network.eval().forward_trainable(images).embedding
    for hook in hooks:
        hook.remove()
    for branch in branches:
        _prune_branch(branch, inputs[branch[5]].transpose(0, 1).flatten(1).T, keep)
    classifier = network.classifier
    chosen, weight = _reduce(classifier.weight, embedding, last)
    classifier.bias += classifier.weight @ embedding.mean(dim=0) - weight @ embedding.mean(dim=0)[chosen]
    network.classifier = _select(classifier, inputs=chosen)
    network.classifier.weight.copy_(weight)
    network.trunk[2] = _select(network.trunk[2], outputs=chosen)
    network.trunk[3] = _select(network.trunk[3], outputs=chosen)


def _prune_branch(branch: nn.Sequential, values: Tensor, keep: float) -> None:
    """Remove hidden channels of: pointwise, norm, ReLU, depthwise, norm, pointwise, norm, ReLU."""
    reader = branch[5]
    before = reader.weight[:, :, 0, 0]
    chosen, weight = _reduce(before, values, 4 * round(len(before[0]) * keep / 4))
    branch[6].running_mean += weight @ values.mean(dim=0)[chosen] - before @ values.mean(dim=0)
    for place in (0, 1, 3, 4):
        branch[place] = _select(branch[place], outputs=chosen)
    branch[5] = _select(reader, inputs=chosen)
    branch[5].weight.copy_(weight[:, :, None, None])


def _reduce(weight: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the strongest inputs of a linear layer, and its weights (O, count) for them by least squares.

    Args:
        weight: (O, I).
        values: (N, I) inputs of the layer.
        count: number of inputs to keep.
    """
    strength = values.std(dim=0) * weight.norm(dim=0)
    chosen = strength.argsort(descending=True)[:count].sort().values
    covariance = values.T.cov()
    covariance += 1e-3 * covariance.diagonal().mean() * torch.eye(len(covariance))
    fitted = torch.linalg.solve(covariance[chosen][:, chosen], covariance[chosen] @ weight.T).T
    return chosen, fitted


def _select(layer: nn.Module, *, outputs: Tensor | None = None, inputs: Tensor | None = None) -> nn.Module:
    """Return a layer with some of the output or input channels of another one."""
    weight = layer.weight
    weight = weight if outputs is None else weight[outputs]
    weight = weight if inputs is None else weight[:, inputs]
    if isinstance(layer, nn.BatchNorm2d):
        selected = nn.BatchNorm2d(len(weight), eps=layer.eps, momentum=layer.momentum)
        selected.load_state_dict(
            {name: value if value.ndim == 0 else value[outputs] for name, value in layer.state_dict().items()}
        )
        return selected
    if isinstance(layer, nn.Linear):
        selected = nn.Linear(weight.shape[1], len(weight))
        selected.bias.copy_(layer.bias)
    else:
        groups = len(weight) if layer.groups > 1 else 1
        selected = nn.Conv2d(
            weight.shape[1] * groups,
            len(weight),
            layer.kernel_size,
            layer.stride,
            layer.padding,
            groups=groups,
            bias=False,
        )
    selected.weight.copy_(weight)
    return selected


@torch.no_grad()
def estimate_norms(network: nn.Module, images: Tensor) -> None:
    """Estimate the running statistics of batch norms again, on training faces (N, 3, S, S); frozen ones are kept."""
    network.train()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d) and layer.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None is the average over all batches.
        norm.momentum = None
    for batch in images.split(BATCH):
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


class RoundedWeight(nn.Module):
    """Weights rounded to integers of a few bits with a scale per output channel; gradients pass unchanged.

    A batch norm that is folded into the layer afterwards changes the scales only, not the integers.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.limit = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Round weights (O, I, h, w)."""
        scale = weight.detach().flatten(1).abs().amax(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1) / self.limit
        return weight + ((weight / scale).round() * scale - weight).detach()


class RoundedMap(nn.Module):
    """ReLU followed by rounding to 256 values between 0 and a moving maximum; gradients pass unchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.highest: Tensor
        self.register_buffer("highest", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Rectify and round a feature map."""
        features = features.relu()
        if self.training:
            highest = features.detach().amax()
            self.highest.copy_(torch.where(self.highest == 0, highest, self.highest.lerp(highest, 0.02)))
        scale = self.highest.clamp(min=1e-6) / 255
        return features + ((features / scale).round().clamp(0, 255) * scale - features).detach()


def simulate_quantization(network: nn.Module, bits: int) -> None:
    """Let a network compute with rounded weights and, with 8 bits, rounded feature maps after ReLU.

    The layers are those of `mien.export.weights`: convolutions with at least 8 input channels.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.weight.shape[1] >= 8:
                parametrize.register_parametrization(child, "weight", RoundedWeight(bits))
            elif isinstance(child, nn.ReLU) and bits == 8:
                setattr(parent, name, RoundedMap())


def end_simulation(network: nn.Module) -> None:
    """Keep the rounded weights and compute feature maps in float32 again."""
    for parent in list(network.modules()):
        if parametrize.is_parametrized(parent):
            parametrize.remove_parametrizations(parent, "weight")
        for name, child in list(parent.named_children()):
            if isinstance(child, RoundedMap):
                setattr(parent, name, nn.ReLU())


class SmallMobileNetV3(ExpressionNetwork):
    """MobileNetV3-Small with a linear head.

    Args:
        classes: number of logits.
        width: multiplies the channels of every layer.
        upsample: side in pixels that crops are resized to inside the network.

    Source:
        Howard et al. (ICCV 2019), "Searching for MobileNetV3"; the layers are torchvision's.
    """

    def __init__(self, classes: int, *, width: float, upsample: int) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v3_small

        self.pixels = PixelInput(
            upsample=upsample, grayscale=True, mean=(127.5, 127.5, 127.5), deviation=(64.0, 64.0, 64.0)
        )
        self.trunk = mobilenet_v3_small(weights=None, width_mult=width).features
        channels = self.trunk[-1].out_channels
        self.classifier = nn.Linear(channels, classes)

    def frozen_features(self, images: Tensor) -> Tensor:
        """Return the images unchanged: no layer is frozen."""
        return images

    def forward_trainable(self, features: Tensor) -> NetworkOutput:
        """Apply the network to crops with values 0..255."""
        feature_map = self.trunk(self.pixels(features))
        return NetworkOutput(self.classifier(feature_map.mean(dim=(2, 3))), feature_map, None)
