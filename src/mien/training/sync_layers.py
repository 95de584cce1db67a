"""Batch norm and dropout over the batch of all processes.

torch's SyncBatchNorm supports CUDA only, not the Gloo backend on the CPU. Dropout has no synchronized version: for the
result to be independent of the number of processes, every process has to draw the mask of the whole batch and use its
own rows. Both are replaced while the network runs, so that networks are built from torch's ordinary layers.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
"""Functions that `SyncLayers` replaces; a network must not draw random numbers in any other way."""


class SyncLayers(TorchFunctionMode):
    """Context in which batch norms in training mode and dropout work on the faces of all processes.

    The first dimension of a tensor is the batch, with a fixed number of consecutive rows per face.

    Args:
        start: position of this process's first face among those of all processes.
        size: number of its faces.
        total: number of faces of all processes.
    """

    def __init__(self, start: int, size: int, total: int) -> None:
        super().__init__()
        self.start = start
        self.size = size
        self.total = total

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if func in DROPOUTS:
            return self._dropout(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self, dropout: Callable, features: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training:
            return features
        rows = len(features) // self.size
        mask = dropout(features.new_ones(self.total * rows, *features.shape[1:]), p, True)
        return features * mask[self.start * rows : (self.start + self.size) * rows]

    def _batch_norm(
        self,
        features: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(features, running_mean, running_var, weight, bias, False, momentum, eps)
        values = features.float()
        reduced = [dimension for dimension in range(features.ndim) if dimension != 1]
        count = features.numel() // features.shape[1] // self.size * self.total
        mean = _AllReduce.apply(values.sum(reduced, keepdim=True)) / count
        centered = values - mean
        variance = _AllReduce.apply(centered.square().sum(reduced, keepdim=True)) / count
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.detach().flatten(), momentum)
            running_var.lerp_(variance.detach().flatten() * count / (count - 1), momentum)
        normalized = centered * (variance + eps).rsqrt()
        if weight is not None and bias is not None:
            normalized = normalized * weight.view(mean.shape) + bias.view(mean.shape)
        return normalized.to(features.dtype)


class _AllReduce(torch.autograd.Function):
    """Sum of a tensor over the processes; the backward pass sums the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _AllReduce.apply(gradients[0])
