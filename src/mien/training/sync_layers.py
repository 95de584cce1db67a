"""Layers that look beyond one face, made to look beyond one process: batch norm and dropout over the whole batch.

torch's own SyncBatchNorm works on CUDA alone, and knows nothing of dropout.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)


class WholeBatch(TorchFunctionMode):
    """While it is on, batch norms that learn measure over the faces of all processes, and dropout draws for them all.

    Nothing else that draws random numbers inside a network is known here: a network that goes to several processes
    drops with `torch.nn.Dropout` and its kin. The first dimension is the batch, with several rows a face in a row.

    Args:
        start: place of this process's first face among those of all.
        own: number of its faces.
        whole: number of the faces of all.
    """

    def __init__(self, start: int, own: int, whole: int) -> None:
        super().__init__()
        self.start, self.own, self.whole = start, own, whole

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if func in DROPOUTS:
            return self._dropout(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self,
        dropout: Callable,
        features: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Tensor:
        if not training:
            return features
        rows = len(features) // self.own
        mask = dropout(features.new_ones(self.whole * rows, *features.shape[1:]), p, True)
        return features * mask[self.start * rows : (self.start + self.own) * rows]

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
        others = [place for place in range(features.ndim) if place != 1]
        count = features.numel() // features.shape[1] // self.own * self.whole
        mean = _Sum.apply(values.sum(others, keepdim=True)) / count
        centered = values - mean
        variance = _Sum.apply(centered.square().sum(others, keepdim=True)) / count
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.detach().flatten(), momentum)
            running_var.lerp_(variance.detach().flatten() * count / (count - 1), momentum)
        shape = mean.shape
        normed = centered * (variance + eps).rsqrt()
        if weight is not None and bias is not None:
            normed = normed * weight.view(shape) + bias.view(shape)
        return normed.to(features.dtype)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes, and of its gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values
