"""Names, file suffixes, extras and precisions of the formats of `mien export`; importing it needs no extra."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from mien.errors import InputError

Format = Literal["onnx", "litert", "executorch", "coreml"]
FormatPrecision = Literal["float32", "float16", "int8"]
WeightType = Literal["float32", "float16", "int8"]
"""Types of stored weights; inference computes in float32 with all of them."""


class FormatSpec(NamedTuple):
    """A format: end of the file name, extra that installs its packages, torch included, and precisions."""

    suffix: str
    extra: str
    precisions: tuple[FormatPrecision, ...]


FORMATS: dict[Format, FormatSpec] = {
    "onnx": FormatSpec(".onnx", "train", ("float32", "float16", "int8")),
    "litert": FormatSpec(".tflite", "litert", ("float32", "float16", "int8")),
    "executorch": FormatSpec(".pte", "executorch", ("float32", "int8")),
    "coreml": FormatSpec(".mlpackage", "coreml", ("float32", "float16", "int8")),
}
"""Formats by name."""


def format_spec(name: Format) -> FormatSpec:
    """Return the description of a format.

    Raises:
        InputError: if the name is unknown.
    """
    if name not in FORMATS:
        raise InputError(f"format is {name!r}; expected one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def check_arguments(name: Format, precision: FormatPrecision, path: Path) -> None:
    """Check a format, its precision and the name of the file.

    Raises:
        InputError: if one is not valid.
    """
    spec = format_spec(name)
    if precision not in spec.precisions:
        raise InputError(f"{name} has no precision {precision!r}; expected one of: {', '.join(spec.precisions)}.")
    if path.suffix != spec.suffix:
        raise InputError(f"{path}: the name of a file for {name} must end in {spec.suffix}.")
