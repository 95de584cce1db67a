"""Random crops of the faces that recipes/landmark_faces.py prepares, for the training of a landmark network.

A crop is a square of `SIZE` pixels and 1.5 box sides. It is cut from a stored crop of 2.2 box sides in one step, so
that every pixel is interpolated once. All random numbers are torch's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from landmark_faces import BASE_SCALE, TEACHER_SIZE
from torch import Tensor

from mien.faces.mesh_network import CROP_SCALE

SIZE = 128
"""Side of the network's crops in pixels."""
LOGIT_RANGE = (-10.0, 20.0)
"""Range to which the teacher's presence logits are clamped."""
ROTATION_DEG = 6.0
"""Standard deviation of the rotation of a crop."""
MAX_ROTATION = 0.45
"""Maximum rotation of a crop in radians."""
LOG_SCALE = 0.16
"""Maximum log of the scale of a crop."""
SHIFT = 0.06
"""Maximum shift of a crop in its sides."""
BACKGROUND_SHARE = 0.55
"""Share of the crops in which the border of repeated pixels is replaced."""
ZOOMED_SHARE = 0.3
"""Share of the crops whose border would become a part of another crop, enlarged; that of the others one color."""


@dataclass(frozen=True, kw_only=True)
class FaceSet:
    """Prepared faces of one kind.

    Attributes:
        crops: (N, H, H, C) uint8 stored crops, gray (C = 1) or RGB.
        landmarks_xyz: (N, 478, 3) in pixels of the centered crop of `SIZE`.
        logits: (N,) presence logits.
        to_source: (N, 2, 3) transforms from pixels of the stored crops to those of the source images.
        source_xyxy: (N, 4) parts of the source images that are not repeated borders.
        odd_matrices: (N, K, 2, 3) transforms from pixels of the stored crops to those of odd crops of `SIZE`.
        odd_logits: (N, K) presence logits of the odd crops.
    """

    crops: Tensor
    landmarks_xyz: Tensor
    logits: Tensor
    to_source: Tensor
    source_xyxy: Tensor
    odd_matrices: Tensor
    odd_logits: Tensor

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def centering(self) -> Tensor:
        """The transform (2, 3) from pixels of the stored crops to those of centered crops."""
        return centering(self.crops.shape[1])


class CropBatch(NamedTuple):
    """Crops with their targets."""

    images: Tensor
    """(N, 3, SIZE, SIZE) RGB 0..255."""
    landmarks_xyz: Tensor
    """(N, 478, 3) in pixels of the crop; meaningless for odd crops."""
    logits: Tensor
    """(N,) presence logits."""


def centering(crop_size: int) -> Tensor:
    """Return the transform (2, 3) from a stored crop of this side in pixels to the centered crop of `SIZE` in it."""
    side = SIZE / CROP_SCALE * BASE_SCALE
    scale = side / crop_size
    offset = SIZE / 2 - side / 2
    return torch.tensor([[scale, 0, offset], [0, scale, offset]])


def read_faces(path: Path, is_used: Callable[[str], bool] | None = None) -> FaceSet:
    """Read a file of prepared faces, or those of them whose image names are used."""
    with np.load(path) as file:
        rows = np.array([is_used is None or is_used(name) for name in file["names"].tolist()])
        arrays = {name: torch.from_numpy(file[name][rows]) for name in file.files if name != "names"}
    crops = arrays["crops"]
    return FaceSet(
        crops=crops if crops.ndim == 4 else crops[..., None],
        landmarks_xyz=map_points(arrays["landmarks_xyz"], centering(crops.shape[1])[None]),
        logits=arrays["logits"].float().clamp(*LOGIT_RANGE),
        to_source=arrays["to_source"],
        source_xyxy=arrays["source_xyxy"],
        odd_matrices=arrays["odd_matrices"] * (SIZE / TEACHER_SIZE),
        odd_logits=arrays["odd_logits"].clamp(*LOGIT_RANGE),
    )


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Return the transforms (N, 2, 3) that apply `inner` (N or 1, 2, 3), then `outer` (N, 2, 3)."""
    linear = outer[:, :, :2]
    return torch.cat([linear @ inner[:, :, :2], linear @ inner[:, :, 2:] + outer[:, :, 2:]], dim=2)


def invert(matrices: Tensor) -> Tensor:
    """Return the inverse of transforms (N, 2, 3)."""
    linear = torch.linalg.inv(matrices[:, :, :2])
    return torch.cat([linear, -linear @ matrices[:, :, 2:]], dim=2)


def map_points(points_xyz: Tensor, matrices: Tensor) -> Tensor:
    """Map points (N, P, 3) by similarities (N or 1, 2, 3); depth is scaled like the plane."""
    points_xy = points_xyz[..., :2] @ matrices[:, :, :2].transpose(1, 2) + matrices[:, None, :, 2]
    scales = torch.linalg.vector_norm(matrices[:, :, 0], dim=1)
    return torch.cat([points_xy, points_xyz[..., 2:] * scales[:, None, None]], dim=2)


def random_similarities(count: int, strength: float) -> Tensor:
    """Return random rotations, scales and shifts (N, 2, 3) about the center of a crop; their size is `strength`."""
    angles = (torch.randn(count) * math.radians(ROTATION_DEG) * strength).clamp(-MAX_ROTATION, MAX_ROTATION)
    scales = torch.exp((torch.rand(count) * 2 - 1) * LOG_SCALE * strength)
    shifts = (torch.rand(count, 2) * 2 - 1) * SHIFT * SIZE * strength
    cos, sin = scales * torch.cos(angles), scales * torch.sin(angles)
    middle = SIZE / 2
    x = middle + shifts[:, 0] - (cos * middle - sin * middle)
    y = middle + shifts[:, 1] - (sin * middle + cos * middle)
    return torch.stack([torch.stack([cos, -sin, x], dim=1), torch.stack([sin, cos, y], dim=1)], dim=1)


def draw_crops(
    faces: FaceSet, rows: Tensor, is_odd: Tensor | None = None, *, strength: float = 1.0, new_backgrounds: bool = True
) -> CropBatch:
    """Draw one random crop of each face.

    Args:
        faces: faces of one kind.
        rows: (N,) int64 indices of the faces.
        is_odd: (N,) bool; draw one of the odd crops of the face instead. None draws none of them.
        strength: factor of rotation, log of the scale, and shift.
        new_backgrounds: replace the border of repeated pixels in some crops.
    """
    count = len(rows)
    jitter = random_similarities(count, strength)
    matrices = compose(jitter, faces.centering[None])
    landmarks_xyz = map_points(faces.landmarks_xyz[rows], jitter)
    logits = faces.logits[rows]
    if is_odd is not None and is_odd.any():
        choices = torch.randint(faces.odd_logits.shape[1], (count,))
        matrices = torch.where(is_odd[:, None, None], faces.odd_matrices[rows, choices], matrices)
        logits = torch.where(is_odd, faces.odd_logits[rows, choices], logits)
    crops = faces.crops[rows].permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)
    positions_xy = pixel_positions(invert(matrices))
    relative = positions_xy.reshape(count, SIZE, SIZE, 2) * 2 / crops.shape[2] - 1
    images = F.grid_sample(crops, relative, mode="bilinear", padding_mode="border", align_corners=False)
    if new_backgrounds:
        images = replace_backgrounds(images, is_border(faces, rows, positions_xy))
    return CropBatch(images, landmarks_xyz, logits)


def pixel_positions(matrices: Tensor) -> Tensor:
    """Return the pixel centers (N, SIZE * SIZE, 2) of a crop, mapped by transforms (N, 2, 3)."""
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3) @ matrices.transpose(1, 2)


def is_border(faces: FaceSet, rows: Tensor, positions_xy: Tensor) -> Tensor:
    """Return (N, 1, SIZE, SIZE) whether pixels, at these positions in the stored crops, are outside of the source."""
    to_source = faces.to_source[rows]
    x, y = (positions_xy @ to_source[:, :, :2].transpose(1, 2) + to_source[:, None, :, 2]).unbind(dim=2)
    left, top, right, bottom = faces.source_xyxy[rows][:, None].unbind(dim=2)
    outside = (x < left) | (y < top) | (x > right) | (y > bottom)
    return outside.reshape(-1, 1, SIZE, SIZE)


def replace_backgrounds(images: Tensor, is_background: Tensor) -> Tensor:
    """Replace the background of some images (N, 3, SIZE, SIZE) by a part of another image or a color."""
    choices = torch.rand(len(images))[:, None, None, None]
    colors = (torch.rand(len(images), 3, 1, 1) * 255).expand(-1, -1, SIZE, SIZE)
    parts = F.interpolate(images.roll(1, 0)[:, :, 20:90, :70], (SIZE, SIZE), mode="bilinear")
    backgrounds = torch.where(choices < ZOOMED_SHARE, parts, colors)
    return torch.where(is_background & (choices < BACKGROUND_SHARE), backgrounds, images)


def vary_appearance(images: Tensor) -> Tensor:
    """Return images (N, 3, SIZE, SIZE) 0..1 with random colors, shading, resolution, noise and occlusions.

    Args:
        images: (N, 3, SIZE, SIZE) RGB 0..255.
    """
    images = vary_colors(images / 255)
    images = lower_resolution(shade(images))
    images = images + torch.randn_like(images) * _chosen(images, 0.35) * torch.rand(len(images), 1, 1, 1) * 0.06
    occlude(images)
    return images.clamp(0, 1)


def _chosen(images: Tensor, share: float) -> Tensor:
    """Return (N, 1, 1, 1) whether each image is among a random share of all."""
    return torch.rand(len(images), 1, 1, 1) < share


def _normal(images: Tensor, deviation: float, channels: int = 1) -> Tensor:
    """Return normal random values (N, channels, 1, 1)."""
    return torch.randn(len(images), channels, 1, 1) * deviation


def vary_colors(images: Tensor) -> Tensor:
    """Vary saturation, gamma, contrast, brightness and tint of images (N, 3, SIZE, SIZE) 0..1."""
    images = torch.where(_chosen(images, 0.15), images.mean(1, keepdim=True), images)
    images = images.clamp(0, 1) ** torch.exp(_normal(images, 0.3))
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * torch.exp(_normal(images, 0.25)) + mean + _normal(images, 0.08)
    tints = torch.exp(_normal(images, 0.14, channels=3))
    return images * torch.where(_chosen(images, 0.7), tints, torch.ones(()))


def shade(images: Tensor) -> Tensor:
    """Brighten some images (N, 3, SIZE, SIZE) linearly along their rows or columns."""
    ramp = torch.linspace(-1, 1, SIZE)
    across = _normal(images, 0.25) * _chosen(images, 0.4)
    down = _normal(images, 0.25) * _chosen(images, 0.4)
    return images * (1 + across * ramp + down * ramp[:, None]).clamp(0.1, 2)


def lower_resolution(images: Tensor) -> Tensor:
    """Reduce some images (N, 3, SIZE, SIZE) to 28 pixels or more, and enlarge them again; in place."""
    for row in torch.nonzero(torch.rand(len(images)) < 0.3).flatten().tolist():
        size = int(torch.randint(28, SIZE, ()))
        reduced = F.interpolate(images[row : row + 1], (size, size), mode="area")
        images[row : row + 1] = F.interpolate(reduced, (SIZE, SIZE), mode="bilinear")
    return images


def occlude(images: Tensor) -> None:
    """Cover a rectangle of some images (N, 3, SIZE, SIZE) by a color or by a part of another image; in place."""
    for row in torch.nonzero(torch.rand(len(images)) < 0.25).flatten().tolist():
        width, height = (torch.rand(2) * 0.35 * SIZE + 6).int().tolist()
        left = int(torch.rand(()) * (SIZE - width))
        top = int(torch.rand(()) * (SIZE - height))
        is_color = torch.rand(()) < 0.6
        other = images[row - 1, :, top : top + height, left : left + width].clone()
        images[row, :, top : top + height, left : left + width] = torch.rand(3, 1, 1) if is_color else other
