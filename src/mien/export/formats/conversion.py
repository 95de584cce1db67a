"""One function that converts a torch module to any format, and one that opens the file in the format's own runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, cast

import numpy as np
from torch import Tensor, nn

from mien.errors import InputError, MienError, MissingExtraError, ModelError
from mien.export.format_spec import FORMATS, Format, FormatPrecision, check_arguments, format_spec

Runner: TypeAlias = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Run a file on one batch: input arrays in, output arrays out, in the order of the conversion."""


class Signature(NamedTuple):
    """Names of the inputs and outputs of a module, in order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Backend(Protocol):
    """Module of a format."""

    def convert(
        self,
        module: nn.Module,
        examples: tuple[Tensor, ...],
        path: Path,
        precision: FormatPrecision,
        signature: Signature,
        calibration: Sequence[tuple[Tensor, ...]],
    ) -> None:
        """Write a file; the arguments are valid."""
        ...

    def open_runner(self, path: Path, threads: int, signature: Signature) -> Runner:
        """Open a file in the runtime of the format."""
        ...


def convert(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    path: Path,
    *,
    format: Format,
    precision: FormatPrecision = "float32",
    input_names: Sequence[str],
    output_names: Sequence[str],
    calibration: Sequence[tuple[Tensor, ...]] = (),
) -> None:
    """Convert a module to a file with the shapes of the example inputs.

    Inputs and outputs keep their types in all precisions: float32 stays float32.

    Args:
        module: returns a tensor or a tuple of tensors.
        examples: inputs; their sizes are those of the file.
        path: file to write, or folder for "coreml".
        format: key of `FORMATS`.
        precision: type of the weights, and for "int8" of most feature maps.
        input_names: names of the arguments of `forward`.
        output_names: names of its results.
        calibration: inputs that give the ranges of feature maps for int8, of training data.

    Raises:
        MissingExtraError: if the packages of the format are not installed.
        InputError: if the format does not have the precision, the name of the file has another suffix, or int8 gets no
            calibration inputs.
        ModelError: if the module cannot be converted.
    """
    check_arguments(format, precision, path)
    if precision == "int8" and not calibration:
        raise InputError("int8 needs calibration inputs, which give the ranges of feature maps.")
    signature = Signature(tuple(input_names), tuple(output_names))
    backend = _backend(format)
    try:
        backend.convert(module.eval(), examples, path, precision, signature, calibration)
    except (MienError, OSError, MemoryError):
        raise
    except Exception as error:  # converters raise exceptions of many types
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"the model cannot be converted to {format}: {lines[0]}") from error


def open_runner(
    path: Path, *, format: Format, input_names: Sequence[str], output_names: Sequence[str], threads: int = 1
) -> Runner:
    """Open a converted file in its own runtime.

    Raises:
        MissingExtraError: if the packages of the format are not installed.
        ModelError: if the runtime does not exist on this platform, or cannot read the file.
    """
    format_spec(format)
    return _backend(format).open_runner(path, threads, Signature(tuple(input_names), tuple(output_names)))


def can_run(name: Format) -> bool:
    """Return whether the runtime of a format exists on this system: that of "coreml" only on macOS."""
    return name != "coreml" or sys.platform == "darwin"


def check_packages(name: Format) -> None:
    """Load the packages of a format.

    Raises:
        MissingExtraError: if one is not installed.
        ModelError: if one is installed and cannot be loaded.
    """
    _backend(name)


def _backend(name: Format) -> Backend:
    extra = FORMATS[name].extra
    try:
        return cast("Backend", import_module(f"mien.export.formats.{name}_format"))
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"Format {name} ({error.name} is missing)", extra) from None
    except ImportError as error:
        raise ModelError(
            f"the packages of format {name} cannot be loaded: {error}. Reinstall them: pip install 'mien[{extra}]'."
        ) from error
