from dataclasses import fields

import numpy as np
import pytest
import torch

from mien.faces.alignment import align_face, alignment_matrix
from mien.training.augment import Augmenter, draw_mixing, mix, sample_crops
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


def test_strength_zero_changes_nothing_but_the_mirror(patches, to_crop):
    config = AugmentConfig(strength=0.0, flip=0.0)
    torch.testing.assert_close(
        Augmenter(config, 48)(patches, to_crop, generator()), patches, atol=0.02, rtol=0
    )


def test_flip_mirrors(patches, to_crop):
    config = AugmentConfig(strength=0.0, flip=1.0)
    found = Augmenter(config, 48)(patches, to_crop, generator())
    torch.testing.assert_close(found, patches.flip(3), atol=0.02, rtol=0)


def test_same_seed_same_pixels_and_other_seed_others(patches, to_crop):
    augment = Augmenter(AugmentConfig(), 48)
    first = augment(patches, to_crop, generator(1))
    assert torch.equal(first, augment(patches, to_crop, generator(1)))
    assert not torch.equal(first, augment(patches, to_crop, generator(2)))
    assert first.min() >= 0
    assert first.max() <= 255


PARTS = [
    field.name
    for field in fields(AugmentConfig)
    if field.name not in ("strength", "own_framing", "flip", "mixup")
]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_does_something_alone(part, patches, to_crop):
    off = dict.fromkeys((*PARTS, "flip"), 0.0)
    value = (
        1.0
        if part in ("grayscale", "low_resolution", "blur", "sharpen", "jpeg", "noise", "random_erasing")
        else 0.3
    )
    if part == "rotate":
        value = 20.0
    textured = (patches + 30 * torch.randn(patches.shape, generator=generator())).clamp(0, 255)
    found = Augmenter(AugmentConfig(**{**off, part: value}), 48)(textured, to_crop, generator())
    assert (found - textured).abs().mean() > 0.5


def test_faces_come_out_alike_alone_and_among_others():
    """Every process cuts its own share of a batch."""
    patches = torch.rand(6, 3, 48, 48, generator=generator()) * 255
    to_crop = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(6, 2, 3)
    augment = Augmenter(AugmentConfig(strength=2.0), 48)
    whole = augment(patches, to_crop, generator(3))
    for rows in (torch.tensor([0, 1]), torch.tensor([5, 2, 3])):
        found = augment(patches[rows], to_crop[rows], generator(3), rows, 6)
        torch.testing.assert_close(found, whole[rows], atol=0.01, rtol=0)


def test_mixing_is_of_pairs_in_shares_that_a_seed_gives():
    values = torch.arange(6.0)[:, None].expand(6, 2)
    partners, shares = draw_mixing(6, 0.4, 1)
    torch.testing.assert_close(
        mix(values, values[partners], shares)[:, 1], shares * torch.arange(6) + (1 - shares) * partners
    )
    assert sorted(partners.tolist()) == list(range(6))
    assert torch.equal(draw_mixing(6, 0.4, 1)[1], shares)
    assert not torch.equal(draw_mixing(6, 0.4, 2)[1], shares)
    _, even = draw_mixing(1000, 50.0, 1)
    assert 0.4 < even.quantile(0.1) < even.quantile(0.9) < 0.6


@pytest.mark.parametrize(("size", "most"), [(64, 1.01), (40, 1.01), (24, 1.51), (17, 1.51), (11, 1.51)])
def test_training_cuts_the_crop_that_inference_cuts(size, most):
    """Enlarged, or reduced up to four times; inference also rounds the averages of blocks, by half a level."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (12, 12, 3)).astype(np.uint8)
    patch = np.kron(small, np.ones((4, 4, 1), dtype=np.uint8))[:47, :47]
    landmarks = np.array([[15, 18], [33, 20], [24, 29], [17, 37], [31, 38]], dtype=float)
    matrix = torch.from_numpy(alignment_matrix(landmarks, size))[None]
    tensor = torch.from_numpy(patch).permute(2, 0, 1).float()[None]
    found = sample_crops(tensor, matrix, None, size)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - align_face(patch, landmarks, size=size)).max() <= most
