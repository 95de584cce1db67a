"""One training step: loss, gradient, and update of the weights."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mien.errors import TrainingError
from mien.losses import (
    adjust_logits,
    affect_loss,
    attention_consistency_loss,
    feature_distillation_loss,
    label_distribution_loss,
)
from mien.models import ExpressionNetwork
from mien.training.checkpoint import Checkpoint
from mien.training.config import Config, LoopConfig
from mien.training.distributed import ProcessGroup, Shard
from mien.training.optimizer import build_optimizer

DIVERGED = (
    ": the run has diverged. Lower training.lr and training.head_lr and start again, or resume with training.amp=false "
    "training.cpu_amp=false if mixed precision was on."
)
"""End of the message of a run that cannot continue."""


class TrainStep:
    """Callable that updates the weights of a network from one batch.

    Args:
        model: the network, on its device.
        features: `model.frozen_features`, or an equivalent function.
        config: the recipe.
        prior: (C,) class frequencies in training, on the device.
        group: processes that share every batch.
    """

    def __init__(
        self,
        model: ExpressionNetwork,
        features: Callable[[Tensor], Tensor],
        config: Config,
        prior: Tensor,
        group: ProcessGroup,
    ) -> None:
        self.model = model
        self.features = features
        self.prior = prior
        self.group = group
        self.options: LoopConfig = config.training
        self.feature_distillation = config.target.feature_distillation
        self.valence_arousal = config.target.valence_arousal
        self.optimizer = build_optimizer(model, config)
        self.precision = pick_precision(group.device, self.options)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=self.precision == torch.float16)

    def __call__(self, images: Tensor, targets: Tensor, shards: Sequence[Shard], seed: int) -> float:
        """Update the weights; return the loss in nats, averaged over the whole batch.

        Args:
            images: this process's crops, 0..255, in the order of the shards.
            targets: their targets; see `mien.training.targets.Targets`.
            shards: this process's shard of every part of the batch.
            seed: seed of dropout.

        Raises:
            TrainingError: if the loss or the gradient is not finite; the weights are unchanged.
        """
        self.model.train()
        loss = self._backward(images, targets, shards, seed)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss}{DIVERGED}")
        if self.options.sam:
            with sam_perturbation(self.model, self.options.sam):
                self._backward(images, targets, shards, seed)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        # with float16, the gradient scaler skips steps with an infinite gradient
        if not (self.scaler.is_enabled() or math.isfinite(norm.item())):
            raise TrainingError(f"the gradient is {norm.item()}{DIVERGED}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def restore(self, checkpoint: Checkpoint) -> None:
        """Load the state of optimizer and gradient scaler."""
        self.optimizer.load_state_dict(checkpoint.optimizer)
        if checkpoint.scaler:
            self.scaler.load_state_dict(checkpoint.scaler)

    def _backward(self, images: Tensor, targets: Tensor, shards: Sequence[Shard], seed: int) -> float:
        """Compute the gradient of the whole batch's loss; return the loss."""
        torch.manual_seed(seed)
        self.optimizer.zero_grad()
        sizes = [shard.size for shard in shards]
        batch = sum(shard.total for shard in shards)
        total = torch.zeros((), device=images.device)
        for shard, crops, target in zip(shards, images.split(sizes), targets.split(sizes), strict=True):
            with self.group.sync_layers(shard):
                loss = self._loss(crops, target) * (shard.size / batch)
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.group.all_reduce_gradients(self.model)
        return self.group.all_reduce(total).item()

    def _loss(self, images: Tensor, targets: Tensor) -> Tensor:
        options = self.options
        with self._autocast():
            output = self.model.forward_trainable(self.features(images))
        logits = adjust_logits(output.logits.float(), self.prior, options.logit_adjustment)
        classes = logits.shape[1]
        loss = label_distribution_loss(logits, targets[:, :classes])
        others = targets[:, classes:]
        if self.valence_arousal:
            predicted = self.model.valence_arousal(output.embedding.float())
            loss = loss + self.valence_arousal * affect_loss(predicted, others[:, :2])
            others = others[:, 2:]
        if self.feature_distillation:
            distance = feature_distillation_loss(output.embedding.float(), others)
            loss = loss + self.feature_distillation * distance
        if options.consistency:
            with self._autocast():
                flipped = self.model.forward_trainable(self.features(images.flip(3)))
            maps = self._maps(output.feature_map), self._maps(flipped.feature_map)
            loss = loss + options.consistency * attention_consistency_loss(*maps)
        return loss

    def _maps(self, feature_map: Tensor) -> Tensor:
        """Return class activation maps without a gradient for the classifier."""
        weight = self.model.classifier.weight.requires_grad_(False)
        maps = self.model.activation_maps(feature_map.float())
        weight.requires_grad_(True)
        return maps

    def _autocast(self) -> torch.autocast:
        enabled = self.precision is not None
        return torch.autocast(self.group.device.type, self.precision or torch.bfloat16, enabled=enabled)


def pick_precision(device: torch.device, options: LoopConfig) -> torch.dtype | None:
    """Return the type of mixed precision: bfloat16, or float16 on GPUs without it; None for float32."""
    if device.type == "cpu" and options.cpu_amp:
        return torch.bfloat16
    if device.type != "cuda" or not options.amp:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@contextmanager
def sam_perturbation(model: nn.Module, radius: float) -> Iterator[None]:
    """Move the weights by `radius` along their gradient, and restore them afterwards.

    Buffers are restored too: running statistics are updated once per step, at the original weights.

    Source:
        Foret et al. (ICLR 2021), "Sharpness-aware minimization", eq. 2 with p = 2.
    """
    gradients = {weight: weight.grad for weight in model.parameters() if weight.grad is not None}
    tensors = [*gradients, *model.buffers()]
    originals = [values.detach().clone() for values in tensors]
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm().clamp(min=1e-12)
    with torch.no_grad():
        for weight, gradient in gradients.items():
            weight.add_(gradient * (radius / norm))
    yield
    with torch.no_grad():
        for values, original in zip(tensors, originals, strict=True):
            values.copy_(original)
