"""`mien export` to an .onnx file that computes in float32 or int8, calibrated on a data set."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mien.cli.export_source import calibrate_model, write_float
from mien.cli.messages import NOTHING_WRITTEN, print_message, report_unreadable
from mien.cli.outputs import check_model_path
from mien.cli.progress import progress_bar
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.cli.options import DatasetOptions, SplitName
    from mien.datasets import Index
    from mien.export.format_spec import WeightType


def export_onnx(
    model: Path,
    output: Path,
    *,
    weights: WeightType | None,
    is_int8: bool,
    data: DatasetOptions | None,
    split: SplitName,
    abstain: float,
    commit: str,
    faces: int,
    max_loss: float,
    quiet: bool,
) -> int:
    """Write a model file with its manifest and print what it was made from; return the exit code.

    Args:
        model: run, checkpoint, model file or name of a shipped model.
        output: .onnx file to write.
        weights: type of the stored weights of a model that computes in float32, by default float16.
        is_int8: compute in int8.
        data: data set to calibrate and evaluate on, whose training faces give the ranges of int8.
        split: split to calibrate and evaluate on.
        abstain: share of validation faces without a label.
        commit: commit of the training code.
        faces: number of training faces.
        max_loss: largest decrease of the accuracy of int8 on validation faces.
        quiet: print no progress.

    Raises:
        InputError: a path or an option is not valid.
        DatasetError: the data set cannot be used.
        ModelError: the model is unknown or broken, or loses more than `max_loss` in int8.
    """
    check_model_path(output, model, is_int8=is_int8)
    if is_int8:
        _check_quantization(weights, data)
    index = data.read() if data else None
    output.parent.mkdir(parents=True, exist_ok=True)
    is_replaced = output.exists()
    unreadable: list[str] = []
    with TemporaryDirectory(prefix=".mien-", dir=output.parent) as folder:
        draft = Path(folder) / output.name
        float_model = Path(folder) / "float32.onnx" if is_int8 else draft
        origin, manifest = write_float(model, float_model, "float32" if is_int8 else weights or "float16", commit)
        state = "uncalibrated" if manifest.temperature == 1 else "numbers of the original weights"
        if index and is_int8:
            _quantize(float_model, draft, index.select("train"), faces, quiet=quiet)
        if index:
            manifest, unreadable = calibrate_model(draft, index.select(split), abstain, quiet=quiet)
            state = f"temperature {manifest.temperature}, abstains below {manifest.abstain_below}"
        if index and is_int8:
            _check_loss(float_model, draft, index.select(split), max_loss, quiet=quiet)
        for path in (draft.with_suffix(".json"), draft):
            path.replace(output.with_name(path.name))
    if is_replaced and not quiet:
        print_message(f"replaced the model that was in {output}")
    print(f"{output}  {output.stat().st_size / 1e6:.1f} MB  {state}  from {origin}")
    return report_unreadable(unreadable)


def _check_quantization(weights: WeightType | None, data: DatasetOptions | None) -> None:
    if weights:
        raise InputError("--weights has no effect on a model that computes in int8; leave out the option.")
    if not data:
        raise InputError("int8 needs --data: training faces to measure the ranges of feature maps on.")


def _quantize(model: Path, output: Path, index: Index, faces: int, *, quiet: bool) -> None:
    from mien.export.quantize import quantize_model

    with progress_bar("quantizing", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        quantize_model(model, output, index, faces=faces, progress=progress)


def _check_loss(original: Path, quantized: Path, index: Index, max_loss: float, *, quiet: bool) -> None:
    """Compare a quantized model with its original, print the comparison, and add it to the manifest."""
    from mien.export.parity import check_loss, measure_parity

    with progress_bar("comparing", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        parity = measure_parity(original, quantized, index, progress=progress)
    print_message(f"int8 against float32: {parity.describe()}")
    check_loss(parity, quantized, max_loss)
