"""Losses compared with torch and the published formulas."""

import torch
import torch.nn.functional as F

from mien.losses import adjust_logits, affect_loss, attention_consistency_loss, label_distribution_loss


def test_label_distribution_loss_matches_torch_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator)
    targets = torch.rand(7, 5, generator=generator)
    targets = targets / targets.sum(1, keepdim=True)
    torch.testing.assert_close(label_distribution_loss(logits, targets), F.cross_entropy(logits, targets))


def test_one_hot_labels_give_the_usual_cross_entropy():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0])
    loss = label_distribution_loss(logits, F.one_hot(labels, 2).float())
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))


def test_adjusted_logits_give_the_published_loss():
    """Menon et al., eq. 10: log(1 + sum over y' of (p(y') / p(y)) ** tau * exp(f(y') - f(y)))."""
    generator = torch.Generator().manual_seed(0)
    logits, prior = torch.randn(6, 3, generator=generator), torch.tensor([0.7, 0.2, 0.1])
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    loss = label_distribution_loss(adjust_logits(logits, prior, 1.5), F.one_hot(labels, 3).float())
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        others = [(prior[o] / prior[label]) ** 1.5 * (row[o] - row[label]).exp() for o in range(3) if o != label]
        expected += torch.log(1 + torch.stack(others).sum()) / 6
    torch.testing.assert_close(loss, expected)


def test_zero_adjustment_keeps_the_logits():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(adjust_logits(logits, torch.tensor([0.9, 0.05, 0.05]), 0.0), logits)


def test_attention_consistency_is_the_squared_error_to_the_flipped_map():
    """The authors sample the second map on a grid that runs from right to left."""
    generator = torch.Generator().manual_seed(0)
    maps, mirrored = (torch.randn(4, 3, 5, 5, generator=generator) for _ in range(2))
    theta = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(4, 2, 3)
    flipped = F.grid_sample(mirrored, F.affine_grid(theta, [4, 3, 5, 5], align_corners=True), align_corners=True)
    torch.testing.assert_close(attention_consistency_loss(maps, mirrored), F.mse_loss(maps, flipped))
    assert attention_consistency_loss(maps, maps.flip(3)) == 0


def test_affect_loss_is_the_mean_squared_error_and_its_parts_add_up():
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.rand(6, 2, generator=generator) for _ in range(2))
    torch.testing.assert_close(affect_loss(predicted, target), F.mse_loss(predicted, target))
    target[1] = target[4, 0] = float("nan")
    parts = sum(affect_loss(predicted[rows], target[rows]) / 2 for rows in (slice(3), slice(3, 6)))
    torch.testing.assert_close(affect_loss(predicted, target), parts)


def test_faces_without_values_have_no_gradient():
    predicted = torch.zeros(2, 2, requires_grad=True)
    affect_loss(predicted, torch.tensor([[0.5, -0.5], [float("nan"), float("nan")]])).backward()
    assert predicted.grad is not None
    assert predicted.grad[0].abs().min() > 0
    assert not predicted.grad[1].any()
