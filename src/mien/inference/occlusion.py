"""Occlusion of facial regions in aligned crops."""

from __future__ import annotations

import numpy as np

from mien.manifest import RegionSpec

REGIONS = (
    RegionSpec(name="right eye and brow", bbox_xyxy=(0.05, 0.1, 0.5, 0.5)),
    RegionSpec(name="left eye and brow", bbox_xyxy=(0.5, 0.1, 0.95, 0.5)),
    RegionSpec(name="nose and cheeks", bbox_xyxy=(0.1, 0.4, 0.9, 0.7)),
    RegionSpec(name="mouth and chin", bbox_xyxy=(0.15, 0.6, 0.85, 1.0)),
)
"""Regions of a face that is aligned without a margin; left and right are the subject's."""


def face_regions(margin: float) -> tuple[RegionSpec, ...]:
    """Return the regions of a face in a crop with a margin (see `alignment_matrix`), within the crop."""

    def place(edge: float) -> float:
        return min(max((edge + margin) / (1 + 2 * margin), 0.0), 1.0)

    def place_box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        left, top, right, bottom = map(place, box)
        return left, top, right, bottom

    return tuple(RegionSpec(name=region.name, bbox_xyxy=place_box(region.bbox_xyxy)) for region in REGIONS)


def hide_region(crops: np.ndarray, region: RegionSpec) -> np.ndarray:
    """Return crops (N, S, S, 3) uint8 with a region filled with the mean color of each crop."""
    left, top, right, bottom = (round(edge * crops.shape[1]) for edge in region.bbox_xyxy)
    hidden = crops.copy()
    hidden[:, top:bottom, left:right] = crops.mean(axis=(1, 2)).round()[:, None, None]
    return hidden
