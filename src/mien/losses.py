"""What training minimises: pure functions of logits and targets."""

from jaxtyping import Float
from torch import Tensor


def label_distribution_loss(
    logits: Float[Tensor, "batch classes"],
    label_distribution: Float[Tensor, "batch classes"],
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(logits) against a label distribution: the mean over the batch, in nats.

    Source:
        Zhao, Liu, Zhou (AAAI 2021), eq. 5. Their code averages over classes too: 1/C of this value.
    """
    return -(label_distribution * logits.log_softmax(dim=1)).sum(dim=1).mean()
