"""Part of a network's input with static shapes that holds the image."""

import torch
from torch import Tensor


class Extent:
    """Part of a static input that the network treats as its whole input, as Python's network has it.

    Args:
        size_hw: (2,) float32 height and width of the part in the upper left.
        height: height of the input in pixels.
        width: width of the input in pixels.
    """

    def __init__(self, size_hw: Tensor, height: int, width: int) -> None:
        self.size_hw = size_hw
        self.height = height
        self.width = width

    def clear_outside(self, features: Tensor) -> Tensor:
        """Set the feature maps (1, C, h, w) outside of the part to the zeros that a convolution pads with."""
        height, width = features.shape[2:]
        # pixels are black there
        if height == self.height:
            return features
        is_row = torch.arange(height) * self.height < self.size_hw[0] * height
        is_column = torch.arange(width) * self.width < self.size_hw[1] * width
        return features * (is_row[:, None] & is_column).float()[None, None]

    def contains(self, points_xy: Tensor) -> Tensor:
        """Return 1 for points (N, 2) inside of the part and 0 for others, as (N,) float32."""
        return ((points_xy[:, 0] < self.size_hw[1]) & (points_xy[:, 1] < self.size_hw[0])).float()
