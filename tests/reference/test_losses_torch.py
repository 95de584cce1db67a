import torch
import torch.nn.functional as F

from mien.losses import label_distribution_loss


def test_equals_torch_cross_entropy_with_probabilities():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator)
    targets = torch.rand(7, 5, generator=generator)
    targets = targets / targets.sum(1, keepdim=True)
    torch.testing.assert_close(label_distribution_loss(logits, targets), F.cross_entropy(logits, targets))


def test_one_hot_is_the_usual_cross_entropy():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0])
    found = label_distribution_loss(logits, F.one_hot(labels, 2).float())
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))
