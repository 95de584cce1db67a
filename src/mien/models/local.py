"""Local feature extractor: separate convolutions for every region of the face."""

import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.models.attention import RegionAttention
from mien.models.layers import FeatureMap
from mien.models.network import Region

REGIONS: dict[str, tuple[Region, ...]] = {
    "quadrants": (
        Region("upper left", (0.0, 0.0, 0.5, 0.5)),
        Region("upper right", (0.5, 0.0, 1.0, 0.5)),
        Region("lower left", (0.0, 0.5, 0.5, 1.0)),
        Region("lower right", (0.5, 0.5, 1.0, 1.0)),
    ),
    "anatomical": (
        Region("right eye and brow", (0.05, 0.1, 0.5, 0.5)),
        Region("left eye and brow", (0.5, 0.1, 0.95, 0.5)),
        Region("nose and cheeks", (0.1, 0.4, 0.9, 0.7)),
        Region("mouth and chin", (0.15, 0.6, 0.85, 1.0)),
    ),
}
"""Partitions of an aligned face into regions. Quadrants are named by the image's left and right, anatomical regions by
the subject's."""

LAYOUTS = ("tiled", "pooled")
"""Ways to merge the regions' maps: each at its position, or their global averages at every position."""


class LocalFeatureExtractor(nn.Module):
    """Crops regions from a feature map, applies separate layers to each, and merges the results into one map.

    In the layout "tiled", overlapping regions are averaged and uncovered positions are 0.

    Args:
        regions: regions to crop.
        make_layers: builds the layers of one region; they halve rows and columns, rounding up.
        channels: output channels of these layers.
        attention: weight the regions of each face by `RegionAttention`; False weights them equally.
        layout: one of `LAYOUTS`.

    Source:
        Zhao, Liu, Zhou (AAAI 2021), section 3.1, for quadrants without attention.
    """

    def __init__(
        self,
        regions: Iterable[Region],
        make_layers: Callable[[], nn.Module],
        *,
        channels: int,
        attention: bool,
        layout: str = "tiled",
    ) -> None:
        super().__init__()
        self.layout = layout
        self.regions = tuple(regions)
        self.layers = nn.ModuleList(make_layers() for _ in self.regions)
        self.attention = RegionAttention(len(self.regions), channels) if attention else None

    def forward(
        self, features: FeatureMap
    ) -> tuple[Float[Tensor, "batch outputs halfrows halfcolumns"], Float[Tensor, "batch regions"] | None]:
        """Return the local feature map and, with attention, the region weights."""
        rows, columns = map(int, features.shape[2:])  # constants in a traced graph
        half = ((rows + 1) // 2, (columns + 1) // 2)
        boxes = [_cells(region, half) for region in self.regions]
        maps = [
            layers(features[:, :, 2 * top : 2 * bottom, 2 * left : 2 * right])
            for layers, (left, top, right, bottom) in zip(self.layers, boxes, strict=True)
        ]
        weights = None
        if self.attention is not None:
            weights = self.attention(torch.stack([local.mean(dim=(2, 3)) for local in maps], dim=1))
            maps = [local * (len(maps) * weights[:, number, None, None, None]) for number, local in enumerate(maps)]
        if self.layout == "pooled":
            pooled = torch.stack([local.mean(dim=(2, 3)) for local in maps]).mean(dim=0)
            return pooled[:, :, None, None].expand(-1, -1, *half), weights
        return _tile(maps, boxes, half), weights


def _cells(region: Region, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Round a region to cells of a map: left, top, right, bottom, the last two exclusive, at least one cell."""
    rows, columns = size_hw
    sides = (columns, rows, columns, rows)
    left, top, right, bottom = (
        math.floor(edge * side + 0.5) for edge, side in zip(region.bbox_xyxy, sides, strict=True)
    )
    left = min(left, columns - 1)
    top = min(top, rows - 1)
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _tile(maps: list[Tensor], boxes: list[tuple[int, int, int, int]], size_hw: tuple[int, int]) -> FeatureMap:
    """Place maps into one, averaging where they overlap."""
    rows, columns = size_hw
    cover = torch.zeros(size_hw)
    padded = []
    for local, (left, top, right, bottom) in zip(maps, boxes, strict=True):
        cover[top:bottom, left:right] += 1
        padded.append(nn.functional.pad(local, (left, columns - right, top, rows - bottom)))
    share = (1 / cover.clamp(min=1)).to(maps[0])
    return torch.stack(padded).sum(dim=0) * share
