from dataclasses import fields

import numpy as np
import pytest
import torch

from mien.faces.alignment import align_face, alignment_matrix
from mien.training.augment import Augmenter, draw_mixup, mix, sample_crops
from mien.training.config import AugmentConfig


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def patches():
    ramp = np.add.outer(np.arange(48), np.arange(48) * 2.0) + np.arange(3)[:, None, None] * 20
    return torch.from_numpy(np.stack([ramp, 255 - ramp])).float()


@pytest.fixture
def to_crop():
    return torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(2, 2, 3)


def test_strength_zero_disables_all_but_the_flip(patches, to_crop):
    config = AugmentConfig(strength=0.0, flip=0.0)
    torch.testing.assert_close(Augmenter(config, 48)(patches, to_crop, generator()), patches, atol=0.02, rtol=0)


def test_flip_mirrors_the_crop(patches, to_crop):
    config = AugmentConfig(strength=0.0, flip=1.0)
    images = Augmenter(config, 48)(patches, to_crop, generator())
    torch.testing.assert_close(images, patches.flip(3), atol=0.02, rtol=0)


def test_pixels_are_a_function_of_the_seed(patches, to_crop):
    augment = Augmenter(AugmentConfig(), 48)
    first = augment(patches, to_crop, generator(1))
    assert torch.equal(first, augment(patches, to_crop, generator(1)))
    assert not torch.equal(first, augment(patches, to_crop, generator(2)))
    assert first.min() >= 0
    assert first.max() <= 255


OPTIONS = [
    field.name for field in fields(AugmentConfig) if field.name not in ("strength", "unaligned", "flip", "mixup")
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_the_images(option, patches, to_crop):
    off = dict.fromkeys((*OPTIONS, "flip"), 0.0)
    value = (
        1.0 if option in ("grayscale", "low_resolution", "blur", "sharpen", "jpeg", "noise", "random_erasing") else 0.3
    )
    if option == "rotate":
        value = 20.0
    textured = (patches + 30 * torch.randn(patches.shape, generator=generator())).clamp(0, 255)
    images = Augmenter(AugmentConfig(**{**off, option: value}), 48)(textured, to_crop, generator())
    assert (images - textured).abs().mean() > 0.5


def test_part_of_a_batch_is_augmented_as_within_the_batch():
    patches = torch.rand(6, 3, 48, 48, generator=generator()) * 255
    to_crop = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(6, 2, 3)
    augment = Augmenter(AugmentConfig(strength=2.0), 48)
    full = augment(patches, to_crop, generator(3))
    for rows in (torch.tensor([0, 1]), torch.tensor([5, 2, 3])):
        part = augment(patches[rows], to_crop[rows], generator(3), rows, 6)
        torch.testing.assert_close(part, full[rows], atol=0.01, rtol=0)


def test_mixup_partners_and_weights_are_functions_of_the_seed():
    values = torch.arange(6.0)[:, None].expand(6, 2)
    partners, weights = draw_mixup(6, 0.4, 1)
    torch.testing.assert_close(
        mix(values, values[partners], weights)[:, 1], weights * torch.arange(6) + (1 - weights) * partners
    )
    assert sorted(partners.tolist()) == list(range(6))
    assert torch.equal(draw_mixup(6, 0.4, 1)[1], weights)
    assert not torch.equal(draw_mixup(6, 0.4, 2)[1], weights)
    _, even = draw_mixup(1000, 50.0, 1)
    assert 0.4 < even.quantile(0.1) < even.quantile(0.9) < 0.6


@pytest.mark.parametrize(("size", "tolerance"), [(64, 1.01), (40, 1.01), (24, 1.51), (17, 1.51), (11, 1.51)])
def test_training_and_inference_crops_are_equal(size, tolerance):
    """Enlarged, or reduced up to four times; inference also rounds the averages of blocks to integers."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)
    patch = np.kron(small, np.ones((4, 4, 1), dtype=np.uint8))[:47, :47]
    landmarks = np.array([[15, 18], [33, 20], [24, 29], [17, 37], [31, 38]], dtype=float)
    matrix = torch.from_numpy(alignment_matrix(landmarks, size))[None]
    tensor = torch.from_numpy(patch).permute(2, 0, 1).float()[None]
    crop = sample_crops(tensor, matrix, None, size)[0].permute(1, 2, 0).numpy()
    assert np.abs(crop - align_face(patch, landmarks, size=size)).max() <= tolerance
