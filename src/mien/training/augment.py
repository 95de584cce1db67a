"""Augmentation of training faces: batches of tensors, repeatable from a generator.

Geometric changes are composed into a single bilinear sampling of the prepared patch, so that pixels are interpolated
once. The other changes reduce the difference between clean color photographs and compressed 48-pixel crops.
"""

import io
import math
from dataclasses import dataclass

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
    """Callable that augments batches.

    Args:
        config: ranges and probabilities.
        size: side of the crops in pixels.
    """

    def __init__(self, config: AugmentConfig, size: int) -> None:
        self.config = config
        self.size = size

    def __call__(
        self,
        patches: Float[Tensor, "batch 3 side side"],
        to_crop: Float[Tensor, "batch 2 3"],
        generator: Generator,
        positions: Int[Tensor, " batch"] | None = None,
        total: int = 0,
    ) -> Images:
        """Return crops (batch, 3, size, size) with values 0..255.

        Args:
            patches: prepared patches, 0..255.
            to_crop: transform from patch to crop pixels, before augmentation.
            generator: source of all random numbers, on the CPU.
            positions: positions of these faces in a larger batch; they are augmented as within that batch.
            total: size of that batch.
        """
        if positions is None:
            positions = torch.arange(len(patches))
        draws = _Draws(positions, max(total, len(patches)), self.config.strength, patches.device, generator)
        images = sample_crops(patches, to_crop, self._geometry(draws), self.size)
        images = self._change_light(images, draws)
        images = self._change_detail(images, draws)
        return self._erase(images, draws)

    def _geometry(self, draws: "_Draws") -> Float[Tensor, "batch 2 3"]:
        """Return transforms from augmented to plain crop pixels: similarities about the center."""
        config = self.config
        angle = draws.symmetric(config.rotate * math.pi / 180)
        scale = torch.exp(draws.symmetric(math.log1p(config.scale)))
        flip = 1 - 2 * draws.bernoulli(config.flip, scaled=False)
        cos, sin = scale * angle.cos(), scale * angle.sin()
        linear = torch.stack([torch.stack([flip * cos, -sin], 1), torch.stack([flip * sin, cos], 1)], 1)
        shift = torch.stack([draws.symmetric(config.shift), draws.symmetric(config.shift)], 1) * self.size
        center = torch.full((2, 1), self.size / 2, device=linear.device)
        return torch.cat([linear, center - linear @ center + shift[:, :, None]], dim=2)

    def _change_light(self, images: Images, draws: "_Draws") -> Images:
        config = self.config
        gamma = torch.exp(draws.symmetric(config.contrast))[:, None, None, None]
        images = 255 * (images / 255).clamp(0, 1) ** gamma
        contrast = torch.exp(draws.symmetric(config.contrast))[:, None, None, None]
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        brightness = 255 * draws.symmetric(config.brightness)[:, None, None, None]
        images = (images - mean) * contrast + mean + brightness
        tint = torch.exp(torch.stack([draws.symmetric(config.tint) for _ in range(3)], 1))[:, :, None, None]
        images = (images * tint).clamp(0, 255)
        weights = torch.tensor(LUMINANCE, device=images.device).view(1, 3, 1, 1)
        gray = (images * weights).sum(dim=1, keepdim=True).expand_as(images)
        return _where(draws.bernoulli(config.grayscale), gray, images)

    def _change_detail(self, images: Images, draws: "_Draws") -> Images:
        config = self.config
        images = _where(draws.bernoulli(config.low_resolution), _resize_down_and_up(images, draws), images)
        blurred = _blur(images)
        images = _where(draws.bernoulli(config.blur), blurred, images)
        amount = draws.uniform(0.3, 1.2)[:, None, None, None]
        images = _where(draws.bernoulli(config.sharpen), images + amount * (images - blurred), images)
        noise = draws.normal(images.shape) * draws.uniform(2.0, 9.0)[:, None, None, None]
        images = _where(draws.bernoulli(config.noise), images + noise, images).clamp(0, 255)
        return _compress(images, draws.bernoulli(config.jpeg), draws.uniform(30.0, 85.0))

    def _erase(self, images: Images, draws: "_Draws") -> Images:
        """Fill one rectangle of random position, with sides of 10..40 % of the crop, with a random gray."""
        coordinate = torch.arange(self.size, device=images.device)[None]
        inside = []
        for _ in range(2):
            length = draws.uniform(0.1, 0.4)[:, None] * self.size
            start = draws.uniform(0.0, 1.0)[:, None] * (self.size - length)
            inside.append((coordinate >= start) & (coordinate < start + length))
        mask = (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()
        mask = mask * draws.bernoulli(self.config.random_erasing)[:, None, None, None]
        fill = draws.uniform(0.0, 255.0)[:, None, None, None]
        return images * (1 - mask) + fill * mask


@dataclass(frozen=True)
class _Draws:
    """Random numbers per face, drawn on the CPU to be equal on every device.

    Numbers are drawn for all faces of the batch; those of the given positions are returned.
    """

    positions: Tensor
    total: int
    strength: float
    device: torch.device
    generator: Generator

    def uniform(self, low: float, high: float) -> Tensor:
        return (low + (high - low) * self._unit()[self.positions]).to(self.device)

    def uniform_scalar(self, low: float, high: float) -> float:
        """Draw one number for the whole batch."""
        return float(low + (high - low) * self._unit()[0])

    def symmetric(self, maximum: float) -> Tensor:
        """Draw uniformly from -maximum..maximum, times the strength."""
        return self.uniform(-maximum * self.strength, maximum * self.strength)

    def bernoulli(self, probability: float, *, scaled: bool = True) -> Tensor:
        """Draw 0 or 1; the probability is multiplied by the strength if `scaled`."""
        probability = min(1.0, probability * self.strength) if scaled else probability
        return (self._unit()[self.positions] < probability).float().to(self.device)

    def normal(self, shape: torch.Size) -> Tensor:
        noise = torch.randn((self.total, *shape[1:]), generator=self.generator)
        return noise[self.positions].to(self.device)

    def _unit(self) -> Tensor:
        return torch.rand(self.total, generator=self.generator)


def draw_mixup(batch: int, alpha: float, seed: int) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Draw the mixup partner of every face of a batch, and the face's own weight from Beta(alpha, alpha).

    Source:
        Zhang et al. (ICLR 2018), "mixup: beyond empirical risk minimization". Their code draws one weight per batch.
    """
    generator = np.random.default_rng(seed)
    partners = generator.permutation(batch)
    weights = generator.beta(alpha, alpha, batch)
    return torch.from_numpy(partners), torch.from_numpy(weights).float()


def mix(
    values: Float[Tensor, "batch *rest"], partners: Float[Tensor, "batch *rest"], weights: Float[Tensor, " batch"]
) -> Float[Tensor, "batch *rest"]:
    """Return the weighted mean of every row and its partner's row."""
    weights = weights.view(-1, *[1] * (values.ndim - 1))
    return weights * values + (1 - weights) * partners


def sample_crops(
    patches: Float[Tensor, "batch 3 side side"],
    to_crop: Float[Tensor, "batch 2 3"],
    variation: Float[Tensor, "batch 2 3"] | None,
    size: int,
) -> Images:
    """Sample crops from patches with the interpolation of `mien.imaging.warp`.

    If a crop has a lower resolution than the patch, blocks of pixels are averaged first. Then sampling is bilinear,
    with border pixels repeated outside the patch.

    Args:
        patches: patches, 0..255.
        to_crop: transform from patch to crop pixels; in float64, so that block sizes are rounded as in `warp`.
        variation: transform from augmented to plain crop pixels; None returns the plain crop.
        size: side of the crops in pixels.
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
    """Average blocks of `reduction` x `reduction` pixels; the last row and column are repeated, as in `warp`."""
    if reduction == 1:
        return patches
    missing = -patches.shape[-1] % reduction
    return F.avg_pool2d(F.pad(patches, (0, missing, 0, missing), mode="replicate"), reduction)


def _sample(
    patches: Float[Tensor, "batch 3 side side"], to_patch: Float[Tensor, "batch 3 3"], reduction: int, size: int
) -> Images:
    """Sample crops by a transform from their pixels to those of the patches before reduction."""
    side = reduction * patches.shape[-1]
    to_pixels = _square(torch.tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2]])[None]).to(patches)
    to_unit = _square(torch.tensor([[2 / side, 0, -1.0], [0, 2 / side, -1.0]])[None]).to(patches)
    theta = (to_unit @ to_patch @ to_pixels)[:, :2]
    grid = F.affine_grid(theta, [len(patches), 3, size, size], align_corners=False)
    return F.grid_sample(patches, grid, padding_mode="border", align_corners=False)


def _square(matrices: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch 3 3"]:
    """Append the row (0, 0, 1) to affine matrices."""
    last = torch.tensor([[[0.0, 0.0, 1.0]]], device=matrices.device).expand(len(matrices), 1, 3)
    return torch.cat([matrices, last], dim=1)


def _where(condition: Float[Tensor, " batch"], changed: Images, images: Images) -> Images:
    return torch.where(condition[:, None, None, None] > 0, changed, images)


def _resize_down_and_up(images: Images, draws: _Draws) -> Images:
    """Resize the batch to 45..90 % of its side and back."""
    size = images.shape[-1]
    smaller = max(8, round(size * draws.uniform_scalar(0.45, 0.9)))
    small = F.interpolate(images, size=(smaller, smaller), mode="bilinear", antialias=True)
    return F.interpolate(small, size=(size, size), mode="bilinear")


def _blur(images: Images) -> Images:
    """Apply a 5 x 5 binomial blur (standard deviation 1)."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    weight = kernel.expand(3, 1, 1, 5)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, weight, groups=3), weight.transpose(2, 3), groups=3)


def _compress(images: Images, condition: Float[Tensor, " batch"], quality: Float[Tensor, " batch"]) -> Images:
    """Compress the images that meet the condition to JPEG at a given quality."""
    rows = torch.nonzero(condition > 0)[:, 0].tolist()
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
