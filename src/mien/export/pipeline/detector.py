"""The face detector as one graph: resize, network at two scales, decoding, suppression."""

import torch
from torch import Tensor, nn

from mien.export.pipeline.extent import Extent
from mien.export.pipeline.resampling import Length, resize_image
from mien.export.pipeline.suppression import box_areas, duplicates, suppress
from mien.faces.detection import (
    COARSE_BORDER,
    COARSE_MIN_AREA,
    COARSE_SIZE,
    EXPLAINING_CONFIDENCE,
    STRIDES,
    WEAK_CONFIDENCE,
    WEAK_MIN_AREA,
)
from mien.runtime import DETECTOR_SIZE, MIN_CONFIDENCE

MAX_IOU = 0.3
"""IoU above which the less confident of two boxes is dropped."""
MAX_CANDIDATES = (192, 32)
"""Maximum number of candidates of the full and of the coarse scan, before suppression; a face has 5 to 15."""
MAX_WEAK = 32
"""Maximum number of weak candidates that may call for the coarse scan."""
MAX_FACES = 32
"""Maximum number of faces that are returned, the largest first."""
STEP = 32
"""The sides of the network's input are multiples of it, in pixels."""


class DetectorPipeline(nn.Module):
    """Find the faces of an image, with the results of `mien.faces.FaceDetector`.

    Args:
        network: from pixels (1, H, W, 3) uint8 to confidences (1, cells) and cells (1, cells, 16); without dynamic
            shapes a `TorchGraph`, which gets the pixels as float32.
        canvas: maximum side of an image in pixels, a multiple of `STEP`.
        has_dynamic_shapes: scan only the part of the canvas that the image fills, in less time. Not all formats have
            dynamic shapes; without them the network's feature maps are cleared outside of that part.
    """

    def __init__(self, network: nn.Module, canvas: int, *, has_dynamic_shapes: bool) -> None:
        super().__init__()
        self.network = network
        self.max_scale = max(1.0, canvas / DETECTOR_SIZE)
        self.scan_side = min(canvas, DETECTOR_SIZE)
        self.has_dynamic_shapes = has_dynamic_shapes

    def forward(self, image: Tensor, size_hw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return boxes (F, 4), landmarks (F, 5, 2), confidences (F,) and the number of faces (1,) int32.

        Args:
            image: canvas (H, W, 3) uint8 RGB with the image in its upper left.
            size_hw: (2,) int32 height and width of the image.
        """
        size = size_hw.float()
        long_side = size.amax()
        scaled_hw = (size * (DETECTOR_SIZE / long_side).clamp(max=1)).round().clamp(min=1)
        scaled = resize_image(image, size, scaled_hw, self._shape(scaled_hw, self.scan_side), self.max_scale)
        coarse_hw = (scaled_hw * (COARSE_SIZE / scaled_hw.amax())).round().clamp(min=1)
        coarse = self._resize_coarse(scaled, scaled_hw, coarse_hw)
        scan = self._scan(scaled, scaled_hw, (size / scaled_hw).flip(0), 0)
        candidates = nn.functional.pad(scan, (0, 0, 0, MAX_CANDIDATES[0]))
        has_full_scan = long_side > COARSE_SIZE
        area = size[0] * size[1]
        full, confidences = _strongest(candidates, candidates[:, 14] * has_full_scan, MAX_CANDIDATES[0])
        is_weak = (box_areas(candidates[:, :4]) > WEAK_MIN_AREA * area) & has_full_scan
        weak, weak_confidences = _strongest(candidates, candidates[:, 14] * is_weak, MAX_WEAK)
        is_face = confidences >= MIN_CONFIDENCE
        is_explained = duplicates(weak[:, :4], full[:, :4], MAX_IOU) & (confidences >= EXPLAINING_CONFIDENCE)[None]
        is_unexplained = (weak_confidences >= WEAK_CONFIDENCE) & ~is_explained.any(dim=1)
        has_none = ~is_face.any()
        more = self._scan(coarse, coarse_hw, (size / coarse_hw).flip(0), COARSE_BORDER)
        is_large = (box_areas(more[:, :4]) > COARSE_MIN_AREA * area) & is_unexplained.any()
        more, more_confidences = _strongest(more, more[:, 14] * (is_large | has_none), MAX_CANDIDATES[1])
        return _select(torch.cat([full, more]), torch.cat([confidences, more_confidences]))

    def _shape(self, size_hw: Tensor, side: int) -> tuple[Length, Length]:
        """Return height and width of an input that contains an image; `side` is their static maximum."""
        if not self.has_dynamic_shapes:
            return side, side
        height, width = _round_up(size_hw).to(torch.int64).unbind()
        return height, width

    def _resize_coarse(self, scaled: Tensor, scaled_hw: Tensor, coarse_hw: Tensor) -> Tensor:
        """Return the image of the coarse scan, with its border."""
        side = -(-(COARSE_SIZE + 2 * COARSE_BORDER) // STEP) * STEP
        height, width = self._shape(coarse_hw + 2 * COARSE_BORDER, side)
        inner = (height - COARSE_BORDER, width - COARSE_BORDER)
        coarse = resize_image(scaled, scaled_hw, coarse_hw, inner, DETECTOR_SIZE / COARSE_SIZE)
        return nn.functional.pad(coarse, (0, 0, COARSE_BORDER, 0, COARSE_BORDER, 0))

    def _scan(self, pixels: Tensor, size_hw: Tensor, scale_xy: Tensor, border: int) -> Tensor:
        """Return all cells (cells, 15) of a scan: box, landmarks, confidence; in pixels of the image.

        Args:
            pixels: (H, W, 3) image of the scan with its border, black outside.
            size_hw: (2,) float32 height and width of that image, without its border.
            scale_xy: (2,) from pixels of the scan to pixels of the image.
            border: width of the border in pixels.
        """
        extent = None
        if self.has_dynamic_shapes:
            confidences, cells = self.network(pixels.to(torch.uint8)[None])
        else:
            extent = Extent(_round_up(size_hw + 2 * border), pixels.shape[0], pixels.shape[1])
            confidences, cells = self.network(pixels[None], before_padding=extent.clear_outside)
        corner, stride = _cell_grid(pixels.shape[0], pixels.shape[1])
        values = cells[0]
        centers = (corner + values[:, 2:4]) * stride
        half_sizes = values[:, 4:6].exp() * stride / 2
        points = (values[:, 6:] + corner.repeat(1, 5)) * stride
        rows = torch.cat([centers - half_sizes, centers + half_sizes, points], dim=1)
        rows = (rows - border) * scale_xy.repeat(7)
        confidence = confidences[0] if extent is None else confidences[0] * extent.contains(corner * stride)
        return torch.cat([rows, confidence[:, None]], dim=1)


def _round_up(size_hw: Tensor) -> Tensor:
    """Return the sides (2,) of the network's input for an image."""
    return (size_hw / STEP).ceil() * STEP


def _cell_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return column and row (cells, 2) of every cell, and its stride (cells, 1), in the order of the network."""
    corners, strides = [], []
    for stride in STRIDES.tolist():
        rows, columns = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        corners.append(torch.stack([columns, rows], dim=-1).reshape(-1, 2))
        strides.append(torch.full_like(corners[-1][:, :1], stride))
    return torch.cat(corners).float(), torch.cat(strides).float()


def _strongest(rows: Tensor, confidences: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the rows (count, 15) with the highest confidences, and these; the first is the highest."""
    values, indices = confidences.topk(count)
    return rows[indices], values


def _select(rows: Tensor, confidences: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Suppress duplicates and return the largest faces, zeros behind the last one."""
    rows, confidences = _strongest(rows, confidences, sum(MAX_CANDIDATES))
    is_kept = suppress(rows[:, :4], confidences >= MIN_CONFIDENCE, MAX_IOU)
    areas, indices = torch.where(is_kept, box_areas(rows[:, :4]), torch.full_like(confidences, -1)).topk(MAX_FACES)
    is_face = areas >= 0
    boxes, landmarks, scores = (rows[indices] * is_face[:, None]).split([4, 10, 1], dim=1)
    count = is_face.sum().to(torch.int32).reshape(1)
    return boxes.reshape(MAX_FACES, 4), landmarks.reshape(MAX_FACES, 5, 2), scores.reshape(MAX_FACES), count
