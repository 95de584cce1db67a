"""How the weights are changed: which rate each of them learns at, and when."""

import math

import torch
from torch import nn

from mien.training.config import Config, LoopConfig


def build_optimizer(model: nn.Module, config: Config) -> torch.optim.AdamW:
    """AdamW over the weights that learn."""
    return torch.optim.AdamW(_parameter_groups(model, config))


def set_learning_rate(optimizer: torch.optim.Optimizer, options: LoopConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to 0; returns the trunk's rate."""
    warmup = min(options.warmup, steps // 2)
    share = (step + 1) / (warmup + 1) if step < warmup else 1.0
    done = max(0, step - warmup) / max(1, steps - warmup)
    factor = share * 0.5 * (1 + math.cos(math.pi * done))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return options.lr * factor


def _parameter_groups(model: nn.Module, config: Config) -> list[dict]:
    """Weight decay on matrices alone, and a higher rate for the classifier."""
    options = config.training
    groups = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("classifier."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak_lr": options.head_lr if is_head else options.lr,
            "weight_decay": options.weight_decay if is_matrix else 0.0,
        }
        for (is_head, is_matrix), parameters in groups.items()
    ]
