"""ONNX files for ONNX Runtime, computing in float32, float16 or int8."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor, nn

from mien.export.format_spec import FormatPrecision
from mien.export.formats.conversion import Runner, Signature
from mien.models.network import OPSET
from mien.runtime import open_session


class _Calibration(CalibrationDataReader):
    def __init__(self, names: Sequence[str], inputs: Sequence[tuple[Tensor, ...]]) -> None:
        self.feeds: Iterator[dict[str, np.ndarray]] = (
            {name: value.numpy() for name, value in zip(names, values, strict=True)} for values in inputs
        )

    def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next inputs."""
        return next(self.feeds, None)


def convert(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    precision: FormatPrecision,
    signature: Signature,
    calibration: Sequence[tuple[Tensor, ...]],
) -> None:
    """Trace a module; float16 and int8 keep inputs and outputs in float32."""
    if precision == "int8":
        _convert_int8(module, examples, path, signature, calibration)
        return
    _trace(module, examples, path, signature)
    if precision == "float16":
        onnx.save(to_float16(onnx.load(path)), path)


def to_float16(model: ModelProto) -> ModelProto:
    """Convert a graph to one that computes in float16; inputs and outputs stay float32."""
    converted = ONNXModel(convert_float_to_float16(model, keep_io_types=True))
    # the converter appends its casts to the end
    converted.topological_sort()
    onnx.checker.check_model(converted.model)
    return converted.model


def _trace(module: nn.Module, examples: tuple[Tensor, ...], path: Path, signature: Signature) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecation
        torch.onnx.export(
            module,
            examples,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(signature.inputs),
            output_names=list(signature.outputs),
        )


def _convert_int8(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    signature: Signature,
    calibration: Sequence[tuple[Tensor, ...]],
) -> None:
    """Quantize all operators: signed weights with a scale per channel, unsigned feature maps."""
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "float32.onnx"
        _trace(module, examples, original, signature)
        quantize_static(
            str(original),
            str(path),
            _Calibration(signature.inputs, calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def open_runner(path: Path, threads: int, signature: Signature) -> Runner:
    """Open a file in ONNX Runtime on the CPU."""
    session = open_session(path, threads, device="cpu")

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        feeds = dict(zip(signature.inputs, inputs, strict=True))
        return [np.asarray(output) for output in session.run(list(signature.outputs), feeds)]

    return run
