"""`mien export`: convert a checkpoint, or a model file with other weights, to a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from mien.cli.export_source import DEFAULT_ABSTAIN, is_model_file
from mien.cli.options import DATASET, OUTPUT_FILE, DatasetOptions, Quiet, Share, SplitName, check_effective
from mien.errors import InputError
from mien.export.format_spec import Format, FormatPrecision, WeightType

QUANTIZATION = Group("Quantization", sort_key=3)
QUANTIZATION_FACES = Parameter(group=QUANTIZATION, metavar="N")
MAX_LOSS = Parameter(group=QUANTIZATION, metavar="SHARE")
DEFAULT_CALIBRATION_FACES = 600
DEFAULT_MAX_LOSS = 0.003
DEFAULT_SPLIT: SplitName = "valid"
BUNDLE = Group("Phone bundle", sort_key=4)
DEFAULT_CANVAS_PX = 640


def export(
    model: Path,
    /,
    *,
    output: Annotated[Path | None, OUTPUT_FILE] = None,
    data: DatasetOptions | None = None,
    split: Annotated[SplitName, Parameter(group=DATASET)] = DEFAULT_SPLIT,
    abstain: Annotated[float, Share] = DEFAULT_ABSTAIN,
    commit: Annotated[str, Parameter(metavar="HASH")] = "",
    weights: WeightType | None = None,
    format: Format = "onnx",
    precision: FormatPrecision | None = None,
    quantize: Annotated[Literal["int8"] | None, Parameter(group=QUANTIZATION)] = None,
    calibration_faces: Annotated[int, QUANTIZATION_FACES] = DEFAULT_CALIBRATION_FACES,
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
            one face per call, compared with the .onnx model in their own runtime and refused if they differ: see
            docs/export-formats.md. Each needs the extra of its name. With --bundle: onnx, litert or executorch, in
            float32.
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
    from mien.cli.export_onnx import export_onnx

    details = {
        "--abstain": abstain != DEFAULT_ABSTAIN,
        "--split": split != DEFAULT_SPLIT,
        "--commit": bool(commit),
        "--calibration-faces": calibration_faces != DEFAULT_CALIBRATION_FACES,
        "--max-loss": max_loss != DEFAULT_MAX_LOSS,
    }
    if bundle is not None:
        if output or data or weights or quantize or precision or any(details.values()):
            raise InputError(
                "--bundle takes a finished .onnx model and no options of --output; export first, then bundle that file."
            )
        return write_bundle(model, bundle, canvas, format, pose=pose, quiet=quiet)
    if output is None:
        raise InputError("expected --output FILE, or --bundle FOLDER for phone apps.")
    is_int8 = "int8" in (quantize, precision)
    _check_details(details, model, has_data=data is not None, is_int8=is_int8)
    check_effective({"--canvas": canvas != DEFAULT_CANVAS_PX, "--pose": pose}, "without --bundle")
    if format != "onnx" or precision == "float16":
        options = {"--weights": weights, "--quantize": quantize, "--max-loss": details["--max-loss"]}
        check_effective(options, f"on {format} files in {precision or 'float32'}")
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
    check_effective({"--quantize": precision == "float32" and quantize}, "with --precision float32")
    return export_onnx(
        model,
        output,
        weights=weights,
        is_int8=is_int8,
        data=data,
        split=split,
        abstain=abstain,
        commit=commit,
        faces=calibration_faces,
        max_loss=max_loss,
        quiet=quiet,
    )


def _check_details(details: Mapping[str, bool], model: Path, *, has_data: bool, is_int8: bool) -> None:
    """Raise `InputError` if an option has no effect in any format."""
    if not has_data:
        check_effective({name: details[name] for name in ("--abstain", "--split")}, "without --data")
    if not is_int8:
        check_effective({name: details[name] for name in ("--calibration-faces", "--max-loss")}, "without int8")
    if details["--commit"] and is_model_file(model):
        check_effective({"--commit": True}, "on a model file, which states its own")
