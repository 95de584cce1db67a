"""`mien export`: convert a checkpoint, or a model file with other weights, to a model file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from cyclopts import Parameter

from mien.cli.options import DATASET, OUTPUT_FILE, DatasetOptions, Quiet, Share, SplitName
from mien.cli.progress import NOTHING_WRITTEN, print_message, progress_bar
from mien.errors import MissingExtraError


def export(
    model: Path,
    /,
    *,
    output: Annotated[Path, OUTPUT_FILE],
    data: DatasetOptions | None = None,
    split: Annotated[SplitName, Parameter(group=DATASET)] = "valid",
    abstain: Annotated[float, Share] = 0.02,
    commit: Annotated[str, Parameter(metavar="HASH")] = "",
    weights: Literal["float32", "float16", "int8"] = "float16",
    quiet: Quiet = False,
) -> int:
    """Convert a training run or a model file to an .onnx file with its manifest, verified and calibrated.

    An existing file is replaced once the new one is complete. Exit code: 1 if validation images are missing or broken;
    they count as errors in the manifest's numbers.

    Args:
        model: folder of a training run, for its best checkpoint on validation data; or a .ckpt or .onnx file, or the
            name of a shipped model.
        output: model file to write, ending in .onnx.
        data: data set to calibrate and evaluate on; without one the model stays uncalibrated.
        split: split to calibrate and evaluate on; without --data the model is not calibrated.
        abstain: share of validation faces that the model leaves without a label, the least confident first.
        commit: commit of the training code, for the manifest.
        weights: type of the stored weights: float32; float16, half the size; or int8, about a quarter, at a small loss
            that --data shows. Inference computes in float32 with all of them.
    """
    from mien.cli.outputs import check_model_path, report_unreadable
    from mien.runtime import find_model, shipped_models

    check_model_path(output, model)
    is_model_file = model.suffix == ".onnx" or (str(model) in shipped_models() and not model.exists())
    try:
        from mien.export.calibrate import calibrate
        from mien.export.weights import restore_model
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", "adapt") from None
    if not is_model_file:
        model = _find_checkpoint(model)
    index = data.read().select(split) if data else None
    output.parent.mkdir(parents=True, exist_ok=True)
    state = "numbers of the original weights" if is_model_file else "uncalibrated"
    unreadable: list[str] = []
    is_replaced = output.exists()
    with TemporaryDirectory(prefix=".mien-", dir=output.parent) as folder:
        draft = Path(folder) / output.name
        if is_model_file:
            manifest = restore_model(find_model(model), draft, weights)
        else:
            from mien.export.onnx import export_model

            manifest = export_model(model, draft, weights=weights, source={"commit": commit} if commit else None)
        if index:
            with progress_bar("calibrating", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
                manifest, unreadable, notes = calibrate(draft, index, abstain=abstain, progress=progress)
            for note in notes:
                print_message(note)
            state = f"temperature {manifest.temperature}, abstains below {manifest.abstain_below}"
        for path in (draft.with_suffix(".json"), draft):
            path.replace(output.with_name(path.name))
    if is_replaced and not quiet:
        print_message(f"replaced the model that was in {output}")
    origin = f"{model}" if is_model_file else f"{model}, step {manifest.source['step']}"
    print(f"{output}  {output.stat().st_size / 1e6:.1f} MB  {state}  from {origin}")
    return report_unreadable(unreadable)


def _find_checkpoint(path: Path) -> Path:
    """Return the checkpoint of a run.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        from mien.training.checkpoint import find_checkpoint
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", "train") from None
    return find_checkpoint(path)
