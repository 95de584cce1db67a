"""Training losses, as pure functions of network outputs and targets."""

import torch
from jaxtyping import Float
from torch import Tensor


def label_distribution_loss(
    logits: Float[Tensor, "batch classes"], label_distribution: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of softmax(logits) against a label distribution: the mean over the batch, in nats.

    Source:
        Zhao, Liu, Zhou (AAAI 2021), eq. 5. Their code averages over classes too: 1/C of this value.
    """
    return -(label_distribution * logits.log_softmax(dim=1)).sum(dim=1).mean()


def adjust_logits(
    logits: Float[Tensor, "batch classes"], prior: Float[Tensor, " classes"], tau: float
) -> Float[Tensor, "batch classes"]:
    """Add tau * log(prior) to the logits for the training loss, so that rare classes need larger logits.

    The network's own logits are then balanced: they do not contain the class frequencies of the training data.

    Args:
        logits: logits of the network.
        prior: class frequencies in training; sums to 1, no class is 0.
        tau: 0 changes nothing; 1 minimizes the balanced error.

    Source:
        Menon et al. (ICLR 2021), "Long-tail learning via logit adjustment", eq. 10.
    """
    return logits + tau * prior.log()


def affect_loss(predicted: Float[Tensor, "batch 2"], target: Float[Tensor, "batch 2"]) -> Float[Tensor, ""]:
    """Return the squared error of valence and arousal, averaged over both and over the batch.

    Faces without values (NaN) add nothing, but count in the mean: so it is the same for a batch in one part or several,
    which does not hold for a loss of the concordance correlation.
    """
    difference = torch.where(target.isfinite(), predicted - target.nan_to_num(), 0.0)
    return difference.square().mean()


def feature_distillation_loss(
    embedding: Float[Tensor, "batch channels"], target: Float[Tensor, "batch target_channels"]
) -> Float[Tensor, ""]:
    """Return the mean squared difference between a network's pooled features and a teacher's.

    A wider network learns them with its first features; the others are free. For teacher features of unit variance the
    loss is the fraction of variance that the network does not explain.

    Source:
        Chen et al. (CVPR 2022), "Knowledge distillation with the reused teacher classifier", eq. 3, without their
        projector.
    """
    return (embedding[:, : target.shape[1]] - target).square().mean()


def attention_consistency_loss(
    maps: Float[Tensor, "batch classes rows columns"], flipped_maps: Float[Tensor, "batch classes rows columns"]
) -> Float[Tensor, ""]:
    """Return the mean squared difference between class activation maps of faces and of their mirror images.

    A network that memorizes a wrong label from some detail attends to different positions in the two images.

    Args:
        maps: maps of the faces.
        flipped_maps: maps of the mirror images as the network returns them; they are flipped back here.

    Source:
        Zhang et al. (ECCV 2022), "Learn from all: erasing attention consistency for noisy label facial expression
        recognition", eq. 3. The erasing is `augment.random_erasing`; their weight of this loss is 5.
    """
    return (maps - flipped_maps.flip(3)).square().mean()
