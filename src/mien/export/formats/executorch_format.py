"""ExecuTorch programs (.pte) for XNNPACK, computing in float32 or int8."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import to_edge_transform_and_lower
from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
from executorch.runtime import Runtime
from torch import Tensor, nn
from torchao.quantization.pt2e.observer import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from mien.export.format_spec import FormatPrecision
from mien.export.formats.conversion import Runner, Signature

MIN_SCALE = 2**-12
"""Minimum scale of a feature map in int8, the default of the XNNPACK quantizer."""


def convert(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    precision: FormatPrecision,
    signature: Signature,
    calibration: Sequence[tuple[Tensor, ...]],
) -> None:
    """Lower a module to a program with the method `forward`; inputs and outputs are positional, without names."""
    if precision == "int8":
        module = _quantize(module, examples, calibration)
    exported = torch.export.export(module, examples)
    program = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(program.buffer)


def _quantize(module: nn.Module, examples: tuple[Tensor, ...], calibration: Sequence[tuple[Tensor, ...]]) -> nn.Module:
    """Quantize the operators that XNNPACK computes in int8: weights per channel, feature maps with fixed ranges."""
    config = get_symmetric_quantization_config(is_per_channel=True)
    assert config.input_activation is not None
    # the histograms of the default take a second per face and more
    ranges = replace(config.input_activation, observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=MIN_SCALE))
    quantizer = XNNPACKQuantizer().set_global(replace(config, input_activation=ranges, output_activation=ranges))
    prepared = prepare_pt2e(torch.export.export(module, examples).module(), quantizer)
    with torch.no_grad():
        for values in calibration:
            prepared(*values)
    return convert_pt2e(prepared)


def open_runner(path: Path, threads: int, signature: Signature) -> Runner:
    """Open a program in ExecuTorch's Python runtime; the threads are those of all programs in the process."""
    if threads:
        _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(path).load_method("forward")

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = method.execute([torch.from_numpy(values) for values in inputs])
        return [output.numpy() for output in outputs]

    return run
