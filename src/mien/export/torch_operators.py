"""ONNX operators as torch functions: inputs are positional arguments, attributes are keyword arguments.

Integers, lists of integers and scalars of a graph arrive as Python values, so that a trace contains them as constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mien.errors import ModelError

Value: TypeAlias = Tensor | float | int | list[int] | list[float] | None
"""Input of an operator; None for one that is left out."""

DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 10: torch.float16}
"""Types by their number in `onnx.TensorProto`."""


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Tensor:
    """Return the mean of each window."""
    padding = list(pads[:2])
    return F.avg_pool2d(x, list(kernel_shape), list(strides), padding, bool(ceil_mode), bool(count_include_pad))


def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor:
    """Normalize by stored statistics."""
    return F.batch_norm(x, mean, var, scale, bias, training=False, eps=epsilon)


def cast(x: Tensor, *, to: int) -> Tensor:
    """Convert to another type."""
    return x.to(DTYPES[to])


def clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Limit to a range."""
    return torch.clamp(x, low, high)


def concat(*parts: Value, axis: int) -> Value:
    """Concatenate tensors, or the sizes of a shape."""
    if all(isinstance(part, list) for part in parts):
        return [size for part in parts for size in part]  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
    return torch.cat(parts, dim=axis)  # pyright: ignore[reportArgumentType, reportCallIssue]


def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
) -> Tensor:
    """Convolve with the same padding on opposite sides; see `pad_kernel`."""
    return F.conv2d(x, weight, bias, list(strides), list(pads[:2]), list(dilations), group)


def pad_kernel(weight: Tensor, pads: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Return a kernel, extended by zeros, and symmetric padding that have the effect of asymmetric padding.

    Args:
        weight: (O, I, h, w).
        pads: padding at top, left, bottom and right.
    """
    top, left, bottom, right = pads
    extended = F.pad(weight, (max(right - left, 0), max(left - right, 0), max(bottom - top, 0), max(top - bottom, 0)))
    rows, columns = max(top, bottom), max(left, right)
    return extended, [rows, columns, rows, columns]


def expand(x: Tensor, sizes: list[int]) -> Tensor:
    """Repeat along axes of size 1."""
    return x.expand(sizes)


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Flatten the axes from one on."""
    return x.flatten(axis)


def gather(x: Tensor, index: int | list[int], *, axis: int = 0) -> Tensor:
    """Select one or several positions of an axis."""
    if isinstance(index, int):
        return x.select(axis, index)
    return x.index_select(axis, torch.tensor(index, device=x.device))


def gemm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """Apply a linear layer."""
    if alpha != 1 or beta != 1:
        raise ModelError(f"Gemm with alpha {alpha:g} and beta {beta:g} cannot be converted; expected 1.")
    return F.linear(x, weight if transB else weight.T, bias)


def layer_normalization(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Normalize over the last axis."""
    return F.layer_norm(x, scale.shape, scale, bias, epsilon)


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    ceil_mode: int = 0,
) -> Tensor:
    """Return the maximum of each window."""
    return F.max_pool2d(x, list(kernel_shape), list(strides), list(pads[:2]), list(dilations), bool(ceil_mode))


def pad(x: Tensor, borders: list[int], value: float | None = None, *, mode: bytes = b"constant") -> Tensor:
    """Pad by a constant."""
    before, after = borders[: len(borders) // 2], borders[len(borders) // 2 :]
    pairs = [size for pair in zip(before[::-1], after[::-1], strict=True) for size in pair]
    return F.pad(x, pairs, value=value or 0.0)


def reduce_l2(x: Tensor, axes: list[int], *, keepdims: int = 1) -> Tensor:
    """Return the Euclidean norm over axes."""
    return x.square().sum(axes, keepdim=bool(keepdims)).sqrt()


def reduce_mean(x: Tensor, axes: list[int], *, keepdims: int = 1) -> Tensor:
    """Average over axes."""
    return x.mean(axes, keepdim=bool(keepdims))


def reduce_prod(x: Tensor, axes: list[int], *, keepdims: int = 1) -> Tensor:
    """Multiply over one axis."""
    return x.prod(axes[0], keepdim=bool(keepdims))


def reduce_sum(x: Tensor, axes: list[int], *, keepdims: int = 1) -> Tensor:
    """Add over axes."""
    return x.sum(axes, keepdim=bool(keepdims))


def reshape(x: Tensor, sizes: list[int], *, allowzero: int = 0) -> Tensor:
    """Reshape; a size of 0 stays as it is."""
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(sizes)])


def resize(
    x: Tensor,
    region: Value,
    factors: list[float],
    *,
    mode: bytes = b"nearest",
    coordinate_transformation_mode: bytes = b"half_pixel",
    nearest_mode: bytes = b"round_prefer_floor",
    cubic_coeff_a: float = -0.75,
) -> Tensor:
    """Scale height and width: linear between centers of pixels, or nearest from their corners."""
    if (mode, coordinate_transformation_mode) not in ((b"linear", b"half_pixel"), (b"nearest", b"asymmetric")):
        raise ModelError(f"Resize {mode.decode()}, {coordinate_transformation_mode.decode()} cannot be converted.")
    # in float32 as ONNX Runtime: 96 * 1.6666666 is 160 there, and below 160 in Python's float64
    sizes = [int(np.float32(size) * np.float32(factor)) for size, factor in zip(x.shape[2:], factors[2:], strict=True)]
    if mode == b"nearest":
        return F.interpolate(x, sizes, mode="nearest")
    return F.interpolate(x, sizes, mode="bilinear", align_corners=False)


def slice_axes(
    x: Value, starts: list[int], ends: list[int], axes: list[int] | None = None, steps: list[int] | None = None
) -> Value:
    """Return a part of a tensor, or of the sizes of a shape."""
    ranges = [slice(*bounds) for bounds in zip(starts, ends, steps or [1] * len(starts), strict=True)]
    if isinstance(x, list):
        return x[ranges[0]]
    parts = dict(zip(axes or range(len(starts)), ranges, strict=True))
    return x[tuple(parts.get(axis, slice(None)) for axis in range(max(parts) + 1))]  # pyright: ignore


def unsqueeze(x: Tensor, axes: list[int]) -> Tensor:
    """Insert axes of size 1."""
    return reduce(torch.unsqueeze, sorted(axes), x)


OPERATORS: dict[str, Callable[..., Value]] = {
    "Add": torch.add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "Div": torch.div,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "LayerNormalization": layer_normalization,
    "MatMul": torch.matmul,
    "MaxPool": max_pool,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Pad": pad,
    "ReduceL2": reduce_l2,
    "ReduceMean": reduce_mean,
    "ReduceProd": reduce_prod,
    "ReduceSum": reduce_sum,
    "Relu": torch.relu,
    "Reshape": reshape,
    "Resize": resize,
    "Shape": lambda x: list(x.shape),
    "Sigmoid": torch.sigmoid,
    "Slice": slice_axes,
    "Softmax": lambda x, axis=-1: x.softmax(axis),
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Sum": lambda *parts: reduce(torch.add, parts),
    "Transpose": lambda x, perm: x.permute(perm),
    "Unsqueeze": unsqueeze,
}
"""Supported operators."""
