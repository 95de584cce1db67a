"""One step of the optimiser: from a batch to changed weights."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mien.errors import TrainingError
from mien.losses import (
    adjust_logits,
    attention_consistency_loss,
    embedding_loss,
    label_distribution_loss,
)
from mien.models import ExpressionNetwork
from mien.training.checkpoint import Checkpoint
from mien.training.config import Config, LoopConfig
from mien.training.distributed import Group, Part
from mien.training.optimizer import build_optimizer


class Learner:
    """Changes the weights of a network.

    Args:
        model: the network, on its device.
        features: its layers that do not learn, `model.frozen_features` or what does the same faster.
        config: the recipe.
        prior: (C,) how frequent each class is in training, on the device.
        group: the processes that share every batch.
    """

    def __init__(
        self,
        model: ExpressionNetwork,
        features: Callable[[Tensor], Tensor],
        config: Config,
        prior: Tensor,
        group: Group,
    ) -> None:
        self.model, self.features, self.prior, self.group = model, features, prior, group
        self.options: LoopConfig = config.training
        self.imitation = config.target.embedding
        self.optimizer = build_optimizer(model, config)
        self.precision = pick_precision(group.device, self.options.amp)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=self.precision == torch.float16)

    def learn(self, images: Tensor, targets: Tensor, parts: Sequence[Part], seed: int) -> float:
        """One step; returns the loss in nats, the mean over the whole batch.

        Args:
            images: this process's crops, 0..255, part after part.
            targets: their target distributions and, where the recipe asks for it, the embeddings to imitate.
            parts: what is learned from at once.
            seed: of dropout.

        Raises:
            TrainingError: when the loss is no number; the weights are as before.
        """
        self.model.train()
        loss = self._find_gradient(images, targets, parts, seed)
        if not (math.isfinite(loss) or self.scaler.is_enabled()):  # that scaler leaves out such steps
            raise TrainingError(
                f"the loss is {loss}: the run has diverged. Lower training.lr and training.head_lr and start anew, or "
                "resume with training.amp=false where that was set."
            )
        if self.options.sam:
            with displaced(self.model, self.options.sam):
                self._find_gradient(images, targets, parts, seed)
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on with the optimiser of a checkpoint."""
        self.optimizer.load_state_dict(checkpoint.optimizer)
        if checkpoint.scaler:
            self.scaler.load_state_dict(checkpoint.scaler)

    def _find_gradient(self, images: Tensor, targets: Tensor, parts: Sequence[Part], seed: int) -> float:
        """Leave the gradient of the whole batch's loss in the weights; returns the loss."""
        torch.manual_seed(seed)
        self.optimizer.zero_grad()
        sizes, batch = [part.own for part in parts], sum(part.whole for part in parts)
        total = torch.zeros((), device=images.device)
        for part, crops, wanted in zip(parts, images.split(sizes), targets.split(sizes), strict=True):
            with self.group.as_one(part):
                loss = self._loss(crops, wanted) * (part.own / batch)
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.group.sum_gradients(self.model)
        return self.group.sum(total).item()

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        options = self.options
        with self._autocast():
            reading = self.model.read(self.features(images))
        logits = adjust_logits(reading.logits.float(), self.prior, options.logit_adjustment)
        classes = logits.shape[1]
        loss = label_distribution_loss(logits, targets[:, :classes])
        if self.imitation:
            loss = loss + self.imitation * embedding_loss(reading.embedding.float(), targets[:, classes:])
        if options.consistency:
            with self._autocast():
                mirrored = self.model.read(self.features(images.flip(3)))
            maps = self._maps(reading.feature_map), self._maps(mirrored.feature_map)
            loss = loss + options.consistency * attention_consistency_loss(*maps)
        return loss

    def _maps(self, feature_map: Tensor) -> Tensor:
        """Class-activation maps, from which the classifier itself does not learn."""
        weight = self.model.classifier.weight.requires_grad_(False)
        maps = self.model.activation_maps(feature_map.float())
        weight.requires_grad_(True)
        return maps

    def _autocast(self) -> torch.autocast:
        enabled = self.precision is not None
        return torch.autocast(self.group.device.type, self.precision or torch.bfloat16, enabled=enabled)


def pick_precision(device: torch.device, amp: bool) -> torch.dtype | None:
    """What a GPU multiplies in: bfloat16, or float16 where it lacks that; None for float32."""
    if not amp or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@contextmanager
def displaced(model: nn.Module, radius: float) -> Iterator[None]:
    """Move the weights by `radius` along their gradient, to where the loss is highest nearby; put them back at the end.

    Running statistics are put back too: they are measured once a step, at the true weights.

    Source:
        Foret et al. (ICLR 2021), "Sharpness-aware minimization", eq. 2 with p = 2.
    """
    gradients = {weight: weight.grad for weight in model.parameters() if weight.grad is not None}
    changed = [*gradients, *model.buffers()]
    kept = [values.detach().clone() for values in changed]
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm().clamp(min=1e-12)
    with torch.no_grad():
        for weight, gradient in gradients.items():
            weight.add_(gradient * (radius / norm))
    yield
    with torch.no_grad():
        for values, before in zip(changed, kept, strict=True):
            values.copy_(before)
