"""Parameter and multiply-add counts of a network."""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """Cost of one network at one input size."""

    parameters: int
    macs: int
    """Multiply-adds of convolutions and linear layers for one crop."""


def measure_cost(network: nn.Module, size: int) -> Cost:
    """Count the parameters of a network and its multiply-adds for one crop of `size` x `size` pixels."""
    was_training = network.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    network.train(was_training)
    parameters = sum(value.numel() for value in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)
