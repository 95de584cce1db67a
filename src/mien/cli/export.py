"""`mien export`: convert a checkpoint, or a model file with other weights, to a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from mien.cli.export_source import DEFAULT_ABSTAIN, WeightType, calibrate_model, write_float
from mien.cli.options import DATASET, OUTPUT_FILE, DatasetOptions, Quiet, Share, SplitName
from mien.cli.progress import NOTHING_WRITTEN, print_message, progress_bar
from mien.errors import InputError

if TYPE_CHECKING:
    from mien.datasets import Index

FormatName = Literal["onnx", "litert", "executorch", "coreml"]
Precision = Literal["float32", "float16", "int8"]
QUANTIZATION = Group("Quantization", sort_key=3)
QUANTIZATION_FACES = Parameter(group=QUANTIZATION, metavar="N")
MAX_LOSS = Parameter(group=QUANTIZATION, metavar="SHARE")
DEFAULT_MAX_LOSS = 0.003
BUNDLE = Group("Phone bundle", sort_key=4)
DEFAULT_CANVAS_PX = 640


def export(
    model: Path,
    /,
    *,
    output: Annotated[Path | None, OUTPUT_FILE] = None,
    data: DatasetOptions | None = None,
    split: Annotated[SplitName, Parameter(group=DATASET)] = "valid",
    abstain: Annotated[float, Share] = DEFAULT_ABSTAIN,
    commit: Annotated[str, Parameter(metavar="HASH")] = "",
    weights: WeightType | None = None,
    format: FormatName = "onnx",
    precision: Precision | None = None,
    quantize: Annotated[Literal["int8"] | None, Parameter(group=QUANTIZATION)] = None,
    calibration_faces: Annotated[int, QUANTIZATION_FACES] = 600,
    max_loss: Annotated[float, MAX_LOSS] = DEFAULT_MAX_LOSS,
    bundle: Annotated[Path | None, Parameter(group=BUNDLE, metavar="FOLDER")] = None,
    canvas: Annotated[int, Parameter(group=BUNDLE, metavar="PX")] = DEFAULT_CANVAS_PX,
    pose: Annotated[bool, Parameter(group=BUNDLE, negative="")] = False,
    quiet: Quiet = False,
) -> int:
    """Convert a training run or a model file to an .onnx file with its manifest, verified and calibrated.

    --weights makes the file smaller, --quantize makes it smaller and faster. An existing file is replaced once the new
    one is complete. Exit code: 1 if validation images are missing or broken; they count as errors in the manifest's
    numbers.

    Args:
        model: folder of a training run, for its best checkpoint on validation data; or a .ckpt or .onnx file, or the
            name of a shipped model.
        output: model file to write, ending in .onnx.
        data: data set to calibrate and evaluate on; without one the model stays uncalibrated.
        split: split to calibrate and evaluate on; without --data the model is not calibrated.
        abstain: share of validation faces that the model leaves without a label, the least confident first.
        commit: commit of the training code, for the manifest.
        weights: type of the stored weights: float32; float16, half the size; or int8, about a quarter, at a small loss
            that --data shows. Inference computes in float32 with all of them and takes the same time
            [default: float16].
        format: onnx for mien and ONNX Runtime; litert (.tflite), executorch (.pte) and coreml (.mlpackage) for phones,
            one face per call, compared with the .onnx model in their own runtime: refused below 99.9% equal labels,
            98% for int8. Each needs the extra of its name. With --bundle: onnx, litert or executorch, in float32.
        precision: float32, float16 or int8. onnx: of the arithmetic; others: of the weights, and for int8 of the
            arithmetic too, with --data for ranges from training faces [default: float32].
        quantize: compute in int8, about twice as fast on CPUs with int8 dot products (AVX512-VNNI, AVX-VNNI, Arm
            dotprod), 1.2 times with AVX2 only; needs --data.
        calibration_faces: number of training faces that give the ranges of feature maps.
        max_loss: largest decrease of the accuracy on validation faces; beyond it no file is written.
        bundle: write a folder for phone apps instead of a model file: detector and expression model from pixels to
            calibrated probabilities, their contract, golden tests and licenses. See docs/phones.md.
        canvas: maximum side of the images that the bundle takes, in pixels.
        pose: add the face mesh and the head pose to the bundle.
    """
    from mien.cli.export_bundle import write_bundle
    from mien.cli.export_format import export_format
    from mien.cli.outputs import check_model_path, report_unreadable

    if output is None or bundle is not None:
        return write_bundle(
            model, bundle, canvas, format, pose=pose, is_only=not (output or data or weights or quantize or precision)
        )
    _check_effective({"--canvas": canvas != DEFAULT_CANVAS_PX, "--pose": pose}, "without --bundle")
    if format != "onnx" or precision == "float16":
        options = {"--weights": weights, "--quantize": quantize, "--max-loss": max_loss != DEFAULT_MAX_LOSS}
        _check_effective(options, f"on {format} files in {precision or 'float32'}")
        return export_format(
            model,
            output,
            format,
            precision or "float32",
            data=data,
            split=split,
            abstain=abstain,
            commit=commit,
            faces=calibration_faces,
            quiet=quiet,
        )
    _check_effective({"--quantize": precision == "float32" and quantize}, "with --precision float32")
    if precision == "int8":
        quantize = "int8"
    check_model_path(output, model)
    if quantize:
        _check_quantization(weights, data)
    index = data.read() if data else None
    output.parent.mkdir(parents=True, exist_ok=True)
    is_replaced = output.exists()
    unreadable: list[str] = []
    with TemporaryDirectory(prefix=".mien-", dir=output.parent) as folder:
        draft = Path(folder) / output.name
        float_model = Path(folder) / "float32.onnx" if quantize else draft
        origin, manifest = write_float(model, float_model, "float32" if quantize else weights or "float16", commit)
        state = "uncalibrated" if manifest.temperature == 1 else "numbers of the original weights"
        if index and quantize:
            _quantize(float_model, draft, index.select("train"), calibration_faces, quiet=quiet)
        if index:
            manifest, unreadable = calibrate_model(draft, index.select(split), abstain, quiet=quiet)
            state = f"temperature {manifest.temperature}, abstains below {manifest.abstain_below}"
        if index and quantize:
            _check_loss(float_model, draft, index.select(split), max_loss, quiet=quiet)
        for path in (draft.with_suffix(".json"), draft):
            path.replace(output.with_name(path.name))
    if is_replaced and not quiet:
        print_message(f"replaced the model that was in {output}")
    print(f"{output}  {output.stat().st_size / 1e6:.1f} MB  {state}  from {origin}")
    return report_unreadable(unreadable)


def _check_effective(options: Mapping[str, object], case: str) -> None:
    """Raise `InputError` if an option is given that has no effect in this case."""
    if names := [name for name, is_given in options.items() if is_given]:
        raise InputError(f"{', '.join(names)}: no effect {case}; leave out the option.")


def _check_quantization(weights: WeightType | None, data: DatasetOptions | None) -> None:
    if weights:
        raise InputError("--weights has no effect on a model that computes in int8; leave out --weights or --quantize.")
    if not data:
        raise InputError("--quantize needs --data and --dataset: faces to measure the ranges of feature maps on.")


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
