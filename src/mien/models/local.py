"""The local feature extractor: every region of the face has a convolution stack of its own."""

import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien.models.attention import RegionAttention
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
"""Ways to part an aligned face, in shares of the crop. Right and left are the
subject's, in the names of the quadrants the image's."""


LAYOUTS = ("tiled", "pooled")
"""How the regions' maps become one: each in its place, or the mean of their averages at every place."""


class LocalFeatureExtractor(nn.Module):
    """Cuts regions out of a feature map, sends each through its own layers, and puts the results back as one map.

    Tiled, the map holds the mean where regions overlap, and 0 where there is none.

    Args:
        regions: what to cut.
        make_layers: builds the layers of one region; they halve rows and columns, odd ones rounded up.
        channels: that they give.
        attention: weigh the regions for each face (`RegionAttention`), all alike when False.
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
        self, features: Float[Tensor, "batch channels rows columns"]
    ) -> tuple[Float[Tensor, "batch outputs halfrows halfcolumns"], Float[Tensor, "batch regions"] | None]:
        """The local map, and how much each region counted when there is attention."""
        rows, columns = map(int, features.shape[2:])  # plain numbers in a traced graph, too
        half = ((rows + 1) // 2, (columns + 1) // 2)
        places = [_place(region, half) for region in self.regions]
        found = [
            layers(features[:, :, 2 * top : 2 * bottom, 2 * left : 2 * right])
            for layers, (left, top, right, bottom) in zip(self.layers, places, strict=True)
        ]
        weights = None
        if self.attention is not None:
            weights = self.attention(torch.stack([part.mean(dim=(2, 3)) for part in found], dim=1))
            found = [
                part * (len(found) * weights[:, number, None, None, None])
                for number, part in enumerate(found)
            ]
        if self.layout == "pooled":
            pooled = torch.stack([part.mean(dim=(2, 3)) for part in found]).mean(dim=0)
            return pooled[:, :, None, None].expand(-1, -1, *half), weights
        return _lay_out(found, places, half), weights


def _place(region: Region, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """The cells (left, top, right, bottom; the last two exclusive) of a map that a region touches most of."""
    left, top, right, bottom = region.bbox_xyxy
    rows, columns = size_hw
    first_column = min(math.floor(left * columns + 0.5), columns - 1)
    first_row = min(math.floor(top * rows + 0.5), rows - 1)
    return (
        first_column,
        first_row,
        max(first_column + 1, math.floor(right * columns + 0.5)),
        max(first_row + 1, math.floor(bottom * rows + 0.5)),
    )


def _lay_out(
    parts: list[Tensor], places: list[tuple[int, int, int, int]], size_hw: tuple[int, int]
) -> Float[Tensor, "batch channels rows columns"]:
    """One map from the parts, their mean where they overlap."""
    rows, columns = size_hw
    cover = torch.zeros(size_hw)
    padded = []
    for part, (left, top, right, bottom) in zip(parts, places, strict=True):
        cover[top:bottom, left:right] += 1
        padded.append(nn.functional.pad(part, (left, columns - right, top, rows - bottom)))
    share = (1 / cover.clamp(min=1)).to(parts[0])
    return torch.stack(padded).sum(dim=0) * share
