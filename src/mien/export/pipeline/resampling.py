"""Resizing and warping of images inside a graph, with the pixels of `mien.imaging`.

Shapes are static and sizes are not: an image fills the upper left of a canvas (H, W, 3), and its height and width are
tensors. Pixels are gathered by computed indices, because not every format has an antialiased resize or `grid_sample`.
"""

import math
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Length: TypeAlias = int | Tensor
"""Static size, or one that is computed in the graph."""
MAX_REDUCTION_RATIO = 1.5
"""Maximum reduction that is left to bilinear interpolation, after blocks of pixels were averaged."""


class Similarity:
    """Rotation, uniform scale and translation from image to crop pixels: crop = factor * image + shift.

    Args:
        factor: (2,) real and imaginary part of the factor of points x + iy.
        source_xy: (2,) a point of the image.
        target_xy: (2,) the same point of the crop.
    """

    def __init__(self, factor: Tensor, source_xy: Tensor, target_xy: Tensor) -> None:
        squared = (factor * factor).sum()
        self.inverse = factor / squared
        self.reduction = 1 / squared.sqrt()
        self.source_xy = source_xy
        self.target_xy = target_xy

    def to_image(self, crop_xy: Tensor) -> Tensor:
        """Map points (..., 2) of the crop to pixels of the image."""
        real, imaginary = self.inverse[0], self.inverse[1]
        x, y = (crop_xy - self.target_xy).unbind(-1)
        return torch.stack([real * x + imaginary * y, real * y - imaginary * x], dim=-1) + self.source_xy


def fit_similarity(source_xy: Tensor, target_xy: Tensor) -> Similarity:
    """Return the similarity that best maps source points (N, 2) to target points, in closed form.

    Source:
        `mien.geometry.similarity_transform`, without complex numbers.
    """
    source_mean, target_mean = source_xy.mean(dim=0), target_xy.mean(dim=0)
    source, target = source_xy - source_mean, target_xy - target_mean
    real = (source * target).sum()
    imaginary = (source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum()
    variance = (source * source).sum().clamp(min=1e-6)
    return Similarity(torch.stack([real, imaginary]) / variance, source_mean, target_mean)


def resize_image(
    canvas: Tensor, size_hw: Tensor, target_hw: Tensor, shape: tuple[Length, Length], max_scale: float
) -> Tensor:
    """Resize an image as `mien.imaging.resize` does; black outside of it.

    Args:
        canvas: (H, W, 3) with the image in its upper left.
        size_hw: (2,) float32 height and width of the image.
        target_hw: (2,) float32 height and width of the resized image.
        shape: height and width of the result.
        max_scale: maximum reduction factor; at 1 the image keeps its size.

    Returns:
        (*shape, 3) float32, integers 0..255.
    """
    if max_scale <= 1:
        return _clear_outside(canvas[: shape[0], : shape[1]], size_hw)
    # columns first and integers after each pass, as Pillow does
    columns = _resize_rows(canvas.transpose(0, 1), size_hw[1], target_hw[1], shape[1], max_scale)
    return _resize_rows(columns.transpose(0, 1), size_hw[0], target_hw[0], shape[0], max_scale)


def _clear_outside(canvas: Tensor, size_hw: Tensor) -> Tensor:
    """Return a canvas (H, W, 3) as float32, black outside of its image."""
    # in rows of 3 W values: a mask of single pixels, broadcast over 3 channels, is ten times as slow
    rows = canvas.reshape(canvas.shape[0], -1).float()
    is_row = _positions(canvas.shape[0]) < size_hw[0]
    is_column = _positions(canvas.shape[1] * 3) < size_hw[1] * 3
    return (rows * is_row[:, None] * is_column).reshape(canvas.shape[0], canvas.shape[1], 3)


def _positions(length: Length) -> Tensor:
    """Return 0, 1, ... below a length."""
    return torch.arange(length)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _resize_rows(image: Tensor, size: Tensor, target: Tensor, length: Length, max_scale: float) -> Tensor:
    """Resize the first dimension of an image (H, W, 3): a triangle filter on rows that are averaged before.

    Source:
        Pillow's `Image.resize` with BILINEAR and `reducing_gap=2`.
    """
    block = (size / target / 2).floor().clamp(min=1)
    scale = size / block / target
    support = scale.clamp(min=1)
    index = _positions(length).float()
    center = (index + 0.5) * scale
    first = ((center - support) * block).floor()
    rows = []
    for tap in range(2 * math.ceil(max(max_scale, 1.0)) + 2):
        row = first + tap
        block_row = (row / block).floor()
        weight = (1 - (block_row + 0.5 - center).abs() / support).clamp(min=0)
        weight = weight / torch.minimum(block, (size - block_row * block).clamp(min=1))
        is_inside = (row >= 0) & (row < size) & (index < target)
        rows.append((torch.minimum(row.clamp(min=0), size - 1), weight * is_inside))
    total = sum(weight for _, weight in rows) + 1e-12
    parts = [image[row.to(torch.int64)].float() * (weight / total)[:, None, None] for row, weight in rows]
    return (sum(parts) + 0.5).floor()  # pyright: ignore[reportAttributeAccessIssue]


def crop_image(
    canvas: Tensor, size_hw: Tensor, similarity: Similarity, size: int, *, has_dynamic_shapes: bool
) -> Tensor:
    """Crop a square from an image as `mien.imaging.warp` does: average k x k pixels, then interpolate.

    Args:
        canvas: (H, W, 3) uint8 with the image in its upper left.
        size_hw: (2,) float32 height and width of the image.
        similarity: from the image to the crop.
        size: side of the crop in pixels.
        has_dynamic_shapes: read only the part of the canvas that the crop shows, in less time.

    Returns:
        (size, size, 3) float32, integers 0..255.
    """
    block = similarity.reduction.round().clamp(min=1)
    side = math.ceil(MAX_REDUCTION_RATIO * math.sqrt(2) * size) + 4
    corners = torch.tensor([[0, 0], [size, 0], [0, size], [size, size]], dtype=torch.float32)
    corners_xy = similarity.to_image(corners) / block
    origin = corners_xy.amin(dim=0).floor() - 1
    first_yx = origin.flip(0)
    if has_dynamic_shapes:
        last = ((corners_xy.amax(dim=0).flip(0).ceil() + 1) * block).clamp(min=1)
        end = torch.minimum(last, size_hw).to(torch.int64)
        start = torch.minimum(first_yx.clamp(min=0), ((size_hw - 1) / block).floor())
        low = (start * block).to(torch.int64)
        end = torch.maximum(end, low + 1)
        canvas = canvas[low[0] : end[0], low[1] : end[1]]
        size_hw = (end - low).float()
        first_yx = first_yx - start
    rows = _sum_blocks(canvas.float(), size_hw[0], block, first_yx[0], side)
    sums = _sum_blocks(rows.transpose(0, 1), size_hw[1], block, first_yx[1], side)
    area = block * block
    patch = ((sums + (area / 2).floor()) / area).floor().reshape(side * side, 3)
    axis = torch.arange(size).float() + 0.5
    centers = torch.stack([axis.expand(size, size), axis[:, None].expand(size, size)], dim=-1)
    return _interpolate(patch, side, similarity.to_image(centers) / block - origin - 0.5)


def _sum_blocks(image: Tensor, size: Tensor, block: Tensor, first: Tensor, count: int) -> Tensor:
    """Return the sums (count, W, 3) of blocks of rows of an image (H, W, 3); edges are repeated outside of it.

    Sums are integers below 2^24 and thus exact up to images of 2048 x 2048.
    """
    sums = torch.cat([torch.zeros_like(image[:1]), image.cumsum(dim=0)])
    last_block = (size / block).ceil() - 1
    start = torch.minimum((first + torch.arange(count).float()).clamp(min=0), last_block) * block
    end = torch.minimum(start + block, size)
    missing = (start + block - end)[:, None, None]
    last = size.to(torch.int64).reshape(1)
    edge = sums[last] - sums[last - 1]
    return sums[end.to(torch.int64)] - sums[start.to(torch.int64)] + missing * edge


def _interpolate(patch: Tensor, side: int, points_xy: Tensor) -> Tensor:
    """Interpolate a patch (side * side, 3), stored by columns, bilinearly at points (h, w, 2); truncate the result."""
    corner = points_xy.floor()
    share = points_xy - corner
    column, row = corner.clamp(min=0, max=side - 2).to(torch.int64).unbind(-1)
    x, y = (part[..., None] for part in share.unbind(-1))
    index = column * side + row
    # indexing a tensor takes four times as long in ExecuTorch
    upper_left, lower_left, upper_right, lower_right = (
        functional.embedding(index + offset, patch) for offset in (0, 1, side, side + 1)
    )
    left = upper_left * (1 - y) + lower_left * y
    right = upper_right * (1 - y) + lower_right * y
    return (left * (1 - x) + right * x + 1e-3).floor()
