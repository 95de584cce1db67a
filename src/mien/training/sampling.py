"""Order and class balance of the faces of an epoch, as a function of the seed."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor


def epoch_order(label_distribution: Float[Tensor, "faces classes"], balance: float, seed: int) -> Int[Tensor, " faces"]:
    """Return the indices of the faces of one epoch, as many as there are faces.

    Args:
        label_distribution: labels of the training faces; their most likely class counts.
        balance: 0 uses every face once. Above 0, faces are drawn with replacement, from a class of n faces with a
            probability proportional to n ** (1 - balance).
        seed: seed of the epoch.
    """
    generator = Generator().manual_seed(seed)
    if not balance:
        return torch.randperm(len(label_distribution), generator=generator)
    weights = face_weights(label_distribution, balance)
    return torch.multinomial(weights, len(weights), replacement=True, generator=generator)


def class_prior(label_distribution: Float[Tensor, "faces classes"], balance: float) -> Float[Tensor, " classes"]:
    """Return the expected class frequencies of an epoch; for `balance` see `epoch_order`."""
    weights = face_weights(label_distribution, balance)
    return (weights / weights.sum()).float() @ label_distribution


def face_weights(label_distribution: Float[Tensor, "faces classes"], balance: float) -> Float[Tensor, " faces"]:
    """Return unnormalized sampling probabilities of faces: n ** -balance for a class of n faces."""
    labels = label_distribution.argmax(1)
    return labels.bincount()[labels].double() ** -balance
