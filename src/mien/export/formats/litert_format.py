"""LiteRT files (.tflite), computing in float32, with float16 weights, or in int8."""

# pyright: reportMissingImports=false
from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import litert_torch
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer.quantizer import AlgorithmName, Quantizer, qtyping
from torch import Tensor, nn

from mien.export.format_spec import FormatPrecision
from mien.export.formats.conversion import Runner, Signature

SIGNATURE = "serving_default"
"""Name of the only signature of a file."""
Operator = qtyping.TFLOperationName
FLOAT_OPERATORS = (
    Operator.INPUT, Operator.OUTPUT, Operator.SUM, Operator.RESIZE_BILINEAR, Operator.SUB, Operator.FULLY_CONNECTED,
)  # fmt: skip
"""Operators that stay in float32 in int8 files: the preparation of pixels, and the last layer."""


class _NamedModule(nn.Module):
    """A module with named inputs and outputs, which a file takes over."""

    def __init__(self, module: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.outputs = outputs

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        outputs = self.module(*inputs.values())
        return dict(zip(self.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))


def convert(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    precision: FormatPrecision,
    signature: Signature,
    calibration: Sequence[tuple[Tensor, ...]],
) -> None:
    """Convert a module, then quantize the file."""
    inputs = dict(zip(signature.inputs, examples, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        original = path if precision == "float32" else Path(folder) / "float32.tflite"
        # the converter prints its progress
        with contextlib.redirect_stdout(sys.stderr):
            converted = litert_torch.convert(_NamedModule(module, signature.outputs).eval(), sample_kwargs=inputs)
            converted.export(str(original))
        if precision == "float32":
            return
        quantizer = Quantizer(str(original))
        path.write_bytes(_quantize(quantizer, precision, signature, calibration))


def _quantize(
    quantizer: Quantizer, precision: FormatPrecision, signature: Signature, calibration: Sequence[tuple[Tensor, ...]]
) -> bytes:
    """Store the weights of layers as float16, or compute all operators in int8 with float32 inputs and outputs."""
    if precision == "float16":
        for operator in (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED):
            quantizer.add_weight_only_config(".*", operator, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
        return bytes(quantizer.quantize().quantized_model or b"")
    quantizer.add_static_config(".*", Operator.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for operator in FLOAT_OPERATORS:
        quantizer.update_quantization_recipe(".*", operator, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return bytes(quantizer.quantize(_ranges(quantizer, signature, calibration)).quantized_model or b"")


def _ranges(
    quantizer: Quantizer, signature: Signature, calibration: Sequence[tuple[Tensor, ...]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the minimum and maximum of every tensor over all examples; the quantizer's own are moving averages."""
    ranges: dict[str, dict[str, np.ndarray]] = {}
    for values in calibration:
        feed = {name: value.numpy() for name, value in zip(signature.inputs, values, strict=True)}
        for tensor, new in quantizer.calibrate({SIGNATURE: [feed]}, num_threads=1).items():
            previous = ranges.get(tensor)
            ranges[tensor] = _union(previous, new) if previous else dict(new)
    return ranges


def _union(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"min": np.minimum(one["min"], other["min"]), "max": np.maximum(one["max"], other["max"])}


def open_runner(path: Path, threads: int, signature: Signature) -> Runner:
    """Open a file in the LiteRT interpreter, which runs float layers and int8 layers with XNNPACK."""
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    runner = interpreter.get_signature_runner(SIGNATURE)

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        outputs = runner(**dict(zip(signature.inputs, inputs, strict=True)))
        return [outputs[name] for name in signature.outputs]

    return run
