"""AdamW with parameter groups, and the learning rate schedule."""

import math

import torch
from torch import nn

from mien.training.config import Config, LoopConfig


def build_optimizer(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """Build AdamW for the trainable weights: weight decay on matrices only, a separate rate for the classifier."""
    options = config.training
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(("classifier.", "affect.")), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        {
            "params": parameters,
            "peak_lr": options.head_lr if is_head else options.lr,
            "weight_decay": options.weight_decay if is_matrix else 0.0,
        }
        for (is_head, is_matrix), parameters in groups.items()
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, options: LoopConfig, step: int, steps: int) -> float:
    """Set the rates of a step: linear warmup, then cosine decay to 0. Return the rate of the trunk."""
    warmup = min(options.warmup, steps // 2)
    ramp = (step + 1) / (warmup + 1) if step < warmup else 1.0
    progress = max(0, step - warmup) / max(1, steps - warmup)
    factor = ramp * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return options.lr * factor
