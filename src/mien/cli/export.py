"""`mien export`: convert a checkpoint to a model file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from mien.cli.options import DATASET, OUTPUT_FILE, DatasetOptions, Quiet, Share, SplitName
from mien.cli.progress import NOTHING_WRITTEN, print_message, progress_bar
from mien.errors import MissingExtraError


def export(
    checkpoint: Path,
    /,
    *,
    output: Annotated[Path, OUTPUT_FILE],
    data: DatasetOptions | None = None,
    split: Annotated[SplitName, Parameter(group=DATASET)] = "valid",
    abstain: Annotated[float, Share] = 0.02,
    commit: Annotated[str, Parameter(metavar="HASH")] = "",
    half: Annotated[bool, Parameter(negative="--full")] = True,
    quiet: Quiet = False,
) -> int:
    """Convert a training run to an .onnx file with its manifest, verified against torch and calibrated.

    An existing file is replaced once the new one is complete. Exit code: 1 if validation images are missing or broken;
    they count as errors in the manifest's numbers.

    Args:
        checkpoint: folder of a training run, for its best checkpoint on validation data; or a .ckpt file.
        output: model file to write, ending in .onnx.
        data: data set to calibrate and evaluate on; without one the model stays uncalibrated.
        split: split to calibrate and evaluate on; without --data the model is not calibrated.
        abstain: share of validation faces that the model leaves without a label, the least confident first.
        commit: commit of the training code, for the manifest.
        half: store the weights as float16, half the size (default); --full keeps float32.
    """
    try:
        from mien.export.calibrate import calibrate
        from mien.export.onnx import export_model
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", "train") from None
    from mien.cli.outputs import report_unreadable
    from mien.training.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(checkpoint)
    index = data.read().select(split) if data else None
    output.parent.mkdir(parents=True, exist_ok=True)
    state = "uncalibrated"
    unreadable: list[str] = []
    is_replaced = output.exists()
    with TemporaryDirectory(prefix=".mien-", dir=output.parent) as folder:
        draft = Path(folder) / output.name
        manifest = export_model(checkpoint, draft, half=half, source={"commit": commit} if commit else None)
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
    origin = f"{checkpoint}, step {manifest.source['step']}"
    print(f"{output}  {output.stat().st_size / 1e6:.1f} MB  {state}  from {origin}")
    return report_unreadable(unreadable)
