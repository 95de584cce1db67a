"""Which faces an epoch shows, and in which order: a function of the seed alone."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor


def epoch_order(
    label_distribution: Float[Tensor, "faces classes"], balance: float, seed: int
) -> Int[Tensor, " faces"]:
    """The places of the faces of one epoch, as many as there are faces.

    Args:
        label_distribution: of the training faces; the likeliest class counts.
        balance: 0 shows every face once. Above 0 faces are drawn with replacement, a class with a probability
            proportional to n ** (1 - balance), n being its number of faces.
        seed: of the epoch.
    """
    generator = Generator().manual_seed(seed)
    if not balance:
        return torch.randperm(len(label_distribution), generator=generator)
    weights = face_weights(label_distribution, balance)
    return torch.multinomial(weights, len(weights), replacement=True, generator=generator)


def class_shares(
    label_distribution: Float[Tensor, "faces classes"], balance: float
) -> Float[Tensor, " classes"]:
    """How frequent each class is among the faces that epochs show; `balance` as for `epoch_order`."""
    weights = face_weights(label_distribution, balance)
    return (weights / weights.sum()).float() @ label_distribution


def face_weights(
    label_distribution: Float[Tensor, "faces classes"], balance: float
) -> Float[Tensor, " faces"]:
    """How likely each face is to be drawn, up to a factor: n ** -balance, n being the size of its class."""
    labels = label_distribution.argmax(1)
    return labels.bincount()[labels].double() ** -balance
