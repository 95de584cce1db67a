"""Core ML packages (.mlpackage), computing in float32 or float16, or with int8 weights. They run on macOS only."""

# pyright: reportMissingImports=false
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import coremltools
import numpy as np
import torch
from coremltools.optimize.coreml import OpLinearQuantizerConfig, OptimizationConfig, linear_quantize_weights
from torch import Tensor, nn

from mien.errors import ModelError
from mien.export.format_spec import FormatPrecision
from mien.export.formats.conversion import Runner, Signature


def convert(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    precision: FormatPrecision,
    signature: Signature,
    calibration: Sequence[tuple[Tensor, ...]],
) -> None:
    """Convert a module to an ML program for iOS 16 and macOS 13 or newer."""
    computing = coremltools.precision.FLOAT32 if precision == "float32" else coremltools.precision.FLOAT16
    with torch.no_grad():
        # an exported module has static shapes; coremltools cannot convert the computation of shapes
        traced = torch.jit.trace(torch.export.export(module, examples).module(), examples)
    program = coremltools.convert(
        traced,
        convert_to="mlprogram",
        inputs=[
            coremltools.TensorType(name=name, shape=tuple(value.shape))
            for name, value in zip(signature.inputs, examples, strict=True)
        ],
        outputs=[coremltools.TensorType(name=name) for name in signature.outputs],
        compute_precision=computing,
        minimum_deployment_target=coremltools.target.iOS16,
    )
    if precision == "int8":
        config = OptimizationConfig(global_config=OpLinearQuantizerConfig(mode="linear_symmetric"))
        program = linear_quantize_weights(program, config)
    program.save(str(path))


def open_runner(path: Path, threads: int, signature: Signature) -> Runner:
    """Open a package in Core ML on macOS.

    Raises:
        ModelError: on other systems.
    """
    if sys.platform != "darwin":
        raise ModelError(f"{path}: Core ML runs on macOS only; its outputs cannot be compared here.")
    program = coremltools.models.MLModel(str(path))

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = program.predict(dict(zip(signature.inputs, inputs, strict=True)))
        return [np.asarray(outputs[name]) for name in signature.outputs]

    return run
