"""`mien export --format`: model files for other runtimes, with a parity report."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mien.cli.export_source import DEFAULT_ABSTAIN, calibrate_model, write_float
from mien.cli.messages import NOTHING_WRITTEN, print_message, report_unreadable
from mien.cli.outputs import check_no_loss
from mien.cli.progress import progress_bar
from mien.errors import InputError, MissingExtraError
from mien.export.format_spec import FORMATS, check_arguments
from mien.manifest import manifest_path
from mien.runtime import check_float_name

if TYPE_CHECKING:
    from mien.cli.options import DatasetOptions, SplitName
    from mien.datasets import Index
    from mien.export.format_spec import Format, FormatPrecision

PARITY_FACES = 500
"""Faces of the data set that the formats are compared on."""
GENERATED_FACES = 100
"""Faces that they are compared on without a data set."""


def export_format(
    model: Path,
    output: Path,
    format_name: Format,
    precision: FormatPrecision,
    *,
    data: DatasetOptions | None,
    split: SplitName,
    abstain: float,
    commit: str,
    faces: int,
    quiet: bool,
) -> int:
    """Convert a model, compare the file with it, write file and manifest, and print the report; return the exit code.

    Args:
        model: run, checkpoint, model file or name of a shipped model.
        output: file to write.
        format_name: format of the file.
        precision: precision of the format.
        data: data set whose training faces give the ranges of int8, and whose other faces are compared.
        split: split of the faces to calibrate on and to compare.
        abstain: share of validation faces without a label. A calibrated model keeps its calibration at the default.
        commit: commit of the training code.
        faces: number of training faces.
        quiet: print no progress.

    Raises:
        InputError: a path or an option is not valid.
        MissingExtraError: the packages of the format are not installed.
        ParityError: the file differs from the model.
    """
    check_format(output, format_name, precision)
    check_float_name(output)
    check_no_loss(output, model)
    if precision == "int8" and not data:
        raise InputError("int8 needs --data: training faces to measure the ranges of feature maps on.")
    index = data.read() if data else None
    output.parent.mkdir(parents=True, exist_ok=True)
    is_replaced = output.exists()
    unreadable: list[str] = []
    with TemporaryDirectory(prefix=".mien-", dir=output.parent) as folder:
        original = Path(folder) / "float32.onnx"
        origin, manifest = write_float(model, original, "float32", commit)
        if index and (manifest.temperature == 1 or abstain != DEFAULT_ABSTAIN):
            _, unreadable = calibrate_model(original, index.select(split), abstain, quiet=quiet)
        draft = Path(folder) / output.name
        training = index.select("train") if index and precision == "int8" else None
        validation = index.select(split) if index else None
        report = _convert(original, draft, format_name, precision, training, validation, faces, quiet=quiet)
        for path in (draft, manifest_path(draft)):
            _replace(path, output.with_name(path.name))
    if is_replaced and not quiet:
        print_message(f"replaced the model that was in {output}")
    size = sum(file.stat().st_size for file in (output, *output.rglob("*")) if file.is_file())
    print(f"{output}  {size / 1e6:.2f} MB  {format_name} {precision}  from {origin}")
    print(report)
    return report_unreadable(unreadable)


def check_format(output: Path, format_name: Format, precision: FormatPrecision) -> None:
    """Check the arguments of a conversion before work begins.

    Raises:
        InputError: the format does not have the precision, or the name of the file has another suffix.
        MissingExtraError: the packages of the format are not installed.
    """
    check_arguments(format_name, precision, output)
    try:
        from mien.export.formats import check_packages
    except ImportError as error:
        extra = FORMATS[format_name].extra
        raise MissingExtraError(f"Format {format_name} ({error.name} is missing)", extra) from None
    check_packages(format_name)


def _convert(
    original: Path,
    draft: Path,
    format_name: Format,
    precision: FormatPrecision,
    training: Index | None,
    validation: Index | None,
    faces: int,
    *,
    quiet: bool,
) -> str:
    """Write a file with its manifest and return the report."""
    from mien.export.face_crops import draw_faces, generate_faces
    from mien.export.formats.model_file import ModelConversion
    from mien.export.formats.parity import check_parity

    with progress_bar("cropping", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        calibration = draw_faces(original, training, faces, progress=progress) if training else None
        if validation:
            compared = draw_faces(original, validation, PARITY_FACES, progress=progress)
        else:
            compared = generate_faces(original, GENERATED_FACES)
    conversion = ModelConversion(
        original=original, output=draft, format=format_name, precision=precision, calibration=calibration
    )
    conversion.write()
    parity = conversion.measure(compared)
    if parity:
        check_parity(parity, precision)
    conversion.write_manifest(parity)
    if parity:
        return parity.describe()
    return "converted and saved, but not run: Core ML runs on macOS only, so parity and speed are not measured"


def _replace(source: Path, target: Path) -> None:
    """Move a file or folder to a path, in place of what is there."""
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
