"""What training minimizes: pure functions of logits and targets."""

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


def adjust_logits(
    logits: Float[Tensor, "batch classes"],
    prior: Float[Tensor, " classes"],
    tau: float,
) -> Float[Tensor, "batch classes"]:
    """Logits as the training loss sees them, with tau * log(prior) added: rare classes then need larger logits.

    The network's own logits stay as they are and come out balanced: what is frequent in training has no head start.

    Args:
        logits: of the network.
        prior: how frequent each class is in training; sums to 1, no class is 0.
        tau: 0 changes nothing; 1 aims at the balanced error.

    Source:
        Menon et al. (ICLR 2021), "Long-tail learning via logit adjustment", eq. 10.
    """
    return logits + tau * prior.log()


def embedding_loss(
    embedding: Float[Tensor, "batch channels"],
    wanted: Float[Tensor, "batch channels"],
) -> Float[Tensor, ""]:
    """Mean squared difference between a network's pooled features and a teacher's.

    Teacher's features of unit variance make it the share of that variance which the network does not explain.

    Source:
        Chen et al. (CVPR 2022), "Knowledge distillation with the reused teacher classifier", eq. 3; theirs has a
        projector before, ours wants networks of one width.
    """
    return (embedding - wanted).square().mean()


def attention_consistency_loss(
    maps: Float[Tensor, "batch classes rows columns"],
    mirrored_maps: Float[Tensor, "batch classes rows columns"],
) -> Float[Tensor, ""]:
    """Mean squared difference between class-activation maps of faces and of their mirror images.

    A network that remembers a wrong label by some detail looks at different places of the two; one that reads the face
    does not.

    Args:
        maps: of the faces.
        mirrored_maps: of their mirror images, as the network gives them; they are flipped back here.

    Source:
        Zhang et al. (ECCV 2022), "Learn from all: erasing attention consistency for noisy label facial expression
        recognition", eq. 3. The erasing is `augment.random_erasing`; they weigh this loss by 5.
    """
    return (maps - mirrored_maps.flip(3)).square().mean()
