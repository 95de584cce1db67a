"""Parameter and multiply-add counts of a network."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def measure_cost(network: nn.Module, size: int) -> tuple[int, int]:
    """Count the parameters of a network, and the multiply-adds of convolutions and linear layers for one crop."""
    was_training = network.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    network.train(was_training)
    parameters = sum(value.numel() for value in network.parameters())
    return parameters, counter.get_total_flops() // 2
