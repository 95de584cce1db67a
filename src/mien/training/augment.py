"""Variation of training faces: one batch at a time, as tensors, repeatable from a generator.

Geometry is composed into a single bilinear sampling from the prepared patch, so that pixels are interpolated once. The
rest makes clean color photographs and compressed 48-pixel crops look alike, whichever of them a face came from.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from PIL import Image
from torch import Generator, Tensor

from mien.imaging import reduction_factor
from mien.models.layers import LUMINANCE
from mien.training.config import AugmentConfig

Images = Float[Tensor, "batch 3 size size"]


class Augmenter:
    """Augments batches as an `AugmentConfig` says.

    Args:
        config: ranges and chances.
        size: side of the crops in pixels.
    """

    def __init__(self, config: AugmentConfig, size: int) -> None:
        self.config, self.size = config, size

    def __call__(
        self,
        patches: Float[Tensor, "batch 3 side side"],
        to_crop: Float[Tensor, "batch 2 3"],
        generator: Generator,
        rows: Int[Tensor, " batch"] | None = None,
        whole: int = 0,
    ) -> Images:
        """Crops (batch, 3, size, size) with values 0..255.

        Args:
            patches: prepared patches, 0..255.
            to_crop: the transform from patch to crop pixels, before variation.
            generator: the only source of chance, on the CPU.
            rows: which faces of a larger batch these are; they come out as they would among the others.
            whole: size of that batch.
        """
        if rows is None:
            rows = torch.arange(len(patches))
        chance = _Chance(rows, max(whole, len(patches)), self.config.strength, patches.device, generator)
        images = sample_crops(patches, to_crop, self._geometry(chance), self.size)
        images = self._light(images, chance)
        images = self._detail(images, chance)
        return self._erase(images, chance)

    def _geometry(self, chance: "_Chance") -> Float[Tensor, "batch 2 3"]:
        """Transforms of the varied crop's pixels to those of the plain one: similarities about the center."""
        config, center = self.config, self.size / 2
        angle = chance.around(config.rotate * math.pi / 180)
        scale = torch.exp(chance.around(math.log1p(config.scale)))
        flip_tta = 1 - 2 * chance.often(config.flip, scaled=False)
        cos, sin = scale * angle.cos(), scale * angle.sin()
        linear = torch.stack(
            [torch.stack([flip_tta * cos, -sin], 1), torch.stack([flip_tta * sin, cos], 1)], 1
        )
        shift = torch.stack([chance.around(config.shift), chance.around(config.shift)], 1) * self.size
        middle = torch.full((2, 1), center, device=linear.device)
        return torch.cat([linear, middle - linear @ middle + shift[:, :, None]], dim=2)

    def _light(self, images: Images, chance: "_Chance") -> Images:
        config = self.config
        gamma = torch.exp(chance.around(config.contrast))[:, None, None, None]
        images = 255 * (images / 255).clamp(0, 1) ** gamma
        contrast = torch.exp(chance.around(config.contrast))[:, None, None, None]
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (
            (images - mean) * contrast + mean + 255 * chance.around(config.brightness)[:, None, None, None]
        )
        tint = torch.exp(torch.stack([chance.around(config.tint) for _ in range(3)], 1))[:, :, None, None]
        images = (images * tint).clamp(0, 255)
        weights = torch.tensor(LUMINANCE, device=images.device).view(1, 3, 1, 1)
        gray = (images * weights).sum(dim=1, keepdim=True).expand_as(images)
        return _where(chance.often(config.grayscale), gray, images)

    def _detail(self, images: Images, chance: "_Chance") -> Images:
        config = self.config
        images = _where(chance.often(config.low_resolution), _shrink_and_enlarge(images, chance), images)
        blurred = _blur(images)
        images = _where(chance.often(config.blur), blurred, images)
        amount = chance.between(0.3, 1.2)[:, None, None, None]
        images = _where(chance.often(config.sharpen), images + amount * (images - blurred), images)
        grain = chance.normal(images.shape) * chance.between(2.0, 9.0)[:, None, None, None]
        images = _where(chance.often(config.noise), images + grain, images).clamp(0, 255)
        return _jpeg(images, chance.often(config.jpeg), chance.between(30.0, 85.0))

    def _erase(self, images: Images, chance: "_Chance") -> Images:
        """One rectangle of 10..40 % of the side each way, filled with one gray."""
        place = torch.arange(self.size, device=images.device)[None]
        inside = []
        for _ in range(2):
            length = chance.between(0.1, 0.4)[:, None] * self.size
            start = chance.between(0.0, 1.0)[:, None] * (self.size - length)
            inside.append((place >= start) & (place < start + length))
        hole = (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()
        hole = hole * chance.often(self.config.random_erasing)[:, None, None, None]
        fill = chance.between(0.0, 255.0)[:, None, None, None]
        return images * (1 - hole) + fill * hole


class _Chance:
    """Random numbers of a batch, one a face, drawn on the CPU so that they are the same on every device.

    They are drawn for the whole batch; only those of the wanted rows are given.
    """

    def __init__(
        self, rows: Tensor, whole: int, strength: float, device: torch.device, generator: Generator
    ) -> None:
        self.rows, self.whole, self.strength = rows, whole, strength
        self.device, self.generator = device, generator

    def between(self, low: float, high: float) -> Tensor:
        return (low + (high - low) * self._uniform()[self.rows]).to(self.device)

    def once_between(self, low: float, high: float) -> float:
        """One number for the whole batch."""
        return float(low + (high - low) * self._uniform()[0])

    def around(self, largest: float) -> Tensor:
        return self.between(-largest * self.strength, largest * self.strength)

    def often(self, chance: float, *, scaled: bool = True) -> Tensor:
        chance = min(1.0, chance * self.strength) if scaled else chance
        return (self._uniform()[self.rows] < chance).float().to(self.device)

    def normal(self, shape: torch.Size) -> Tensor:
        whole = (self.whole, *shape[1:])
        return torch.randn(whole, generator=self.generator)[self.rows].to(self.device)

    def _uniform(self) -> Tensor:
        return torch.rand(self.whole, generator=self.generator)


def draw_mixing(batch: int, alpha: float, seed: int) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """With which other face of the batch each one is mixed, and its own share, from Beta(alpha, alpha).

    Source:
        Zhang et al. (ICLR 2018), "mixup: beyond empirical risk minimization". Their code draws one share a batch.
    """
    chance = np.random.default_rng(seed)
    partners, shares = chance.permutation(batch), chance.beta(alpha, alpha, batch)
    return torch.from_numpy(partners), torch.from_numpy(shares).float()


def mix(
    values: Float[Tensor, "batch *rest"],
    partners: Float[Tensor, "batch *rest"],
    shares: Float[Tensor, " batch"],
) -> Float[Tensor, "batch *rest"]:
    """Every row, in its share, with its partner's row."""
    shares = shares.view(-1, *[1] * (values.ndim - 1))
    return shares * values + (1 - shares) * partners


def sample_crops(
    patches: Float[Tensor, "batch 3 side side"],
    to_crop: Float[Tensor, "batch 2 3"],
    variation: Float[Tensor, "batch 2 3"] | None,
    size: int,
) -> Images:
    """Cut crops out of patches as `mien.imaging.warp` does.

    Where the plain crop has fewer pixels than its place in the patch, blocks are averaged first; the rest is bilinear,
    last pixels repeated beyond the border.

    Args:
        patches: 0..255.
        to_crop: transform from patch to crop pixels; in float64, blocks are as large as `warp` takes them, also where
            the reduction is as near to one whole number as to the next.
        variation: transform from the pixels of the wanted crop to those of the plain one; None for the plain one.
        size: side of the crops.
    """
    reductions = torch.tensor([reduction_factor(matrix) for matrix in to_crop.cpu().numpy()])
    inverse = torch.linalg.inv(_square(to_crop.to(patches)))
    if variation is not None:
        inverse = inverse @ _square(variation)
    crops = patches.new_empty(len(patches), 3, size, size)
    for reduction in reductions.unique().tolist():
        rows = torch.nonzero(reductions == reduction)[:, 0].to(patches.device)
        crops[rows] = _sample(_average_blocks(patches[rows], reduction), inverse[rows], reduction, size)
    return crops


def _average_blocks(
    patches: Float[Tensor, "batch 3 side side"], reduction: int
) -> Float[Tensor, "batch 3 newside newside"]:
    """Every block of so many pixels each way averaged to one; the last row and column repeat, as in `warp`."""
    if reduction == 1:
        return patches
    missing = -patches.shape[-1] % reduction
    return F.avg_pool2d(F.pad(patches, (0, missing, 0, missing), mode="replicate"), reduction)


def _sample(
    patches: Float[Tensor, "batch 3 side side"],
    to_patch: Float[Tensor, "batch 3 3"],
    reduction: int,
    size: int,
) -> Images:
    """Crops by a transform from their pixels to those of the patches before these were reduced."""
    side = reduction * patches.shape[-1]
    to_pixels = _square(torch.tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2]])[None]).to(patches)
    to_unit = _square(torch.tensor([[2 / side, 0, -1.0], [0, 2 / side, -1.0]])[None]).to(patches)
    theta = (to_unit @ to_patch @ to_pixels)[:, :2]
    grid = F.affine_grid(theta, [len(patches), 3, size, size], align_corners=False)
    return F.grid_sample(patches, grid, padding_mode="border", align_corners=False)


def _square(matrices: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch 3 3"]:
    last = torch.tensor([[[0.0, 0.0, 1.0]]], device=matrices.device).expand(len(matrices), 1, 3)
    return torch.cat([matrices, last], dim=1)


def _where(chosen: Float[Tensor, " batch"], yes: Images, no: Images) -> Images:
    return torch.where(chosen[:, None, None, None] > 0, yes, no)


def _shrink_and_enlarge(images: Images, chance: _Chance) -> Images:
    """The batch through one smaller size, 45..90 % of its side."""
    size = images.shape[-1]
    smaller = max(8, round(size * chance.once_between(0.45, 0.9)))
    small = F.interpolate(images, size=(smaller, smaller), mode="bilinear", antialias=True)
    return F.interpolate(small, size=(size, size), mode="bilinear")


def _blur(images: Images) -> Images:
    """Binomial blur over five pixels each way (standard deviation 1)."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    weight = kernel.expand(3, 1, 1, 5)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, weight, groups=3), weight.transpose(2, 3), groups=3)


def _jpeg(images: Images, chosen: Float[Tensor, " batch"], quality: Float[Tensor, " batch"]) -> Images:
    """The chosen images through a JPEG file of the given quality."""
    rows = torch.nonzero(chosen > 0)[:, 0].tolist()
    if not rows:
        return images
    images = images.clone()
    for row in rows:
        pixels = images[row].round().to("cpu", torch.uint8).permute(1, 2, 0).numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(quality[row]))
        decoded = np.array(Image.open(buffer))
        images[row] = torch.from_numpy(decoded).permute(2, 0, 1).to(images)
    return images
