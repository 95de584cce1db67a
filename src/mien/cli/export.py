"""`mien export`: a checkpoint becomes a model file that `mien predict` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mien.cli.progress import progress_bar
from mien.emotions import DatasetKind
from mien.errors import MissingExtraError


def export(
    checkpoint: Path,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    data: Path | None = None,
    dataset: DatasetKind = "ferplus",
    abstain: float = 0.02,
    commit: str = "",
    half: Annotated[bool, Parameter(negative="--full")] = True,
) -> None:
    """Turn a checkpoint into an .onnx file with its manifest, checked against torch and calibrated.

    Args:
        checkpoint: last.ckpt of a training run.
        output: the model file to write, ending in .onnx.
        data: data set whose validation split fits the temperature; without it the model stays uncalibrated.
        dataset: layout of its files; folder: one folder a class; table: image,label[,split].
        abstain: share of the validation faces, the least sure ones, that get no label.
        commit: of the repository that trained it, for the manifest.
        half: store the weights as float16, half the size; --full keeps float32.
    """
    try:
        from mien.export.calibrate import calibrate
        from mien.export.onnx import export_model
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", "train") from None
    from mien.datasets import read_dataset

    index = read_dataset(dataset, data).select("valid") if data else None
    manifest = export_model(checkpoint, output, half=half, source={"commit": commit} if commit else None)
    if index:
        with progress_bar("calibrating") as advance:
            manifest = calibrate(output, index, abstain=abstain, progress=advance)
    state = (
        f"temperature {manifest.temperature}, abstains below {manifest.abstain_below}"
        if data
        else "uncalibrated"
    )
    print(f"{output}  {output.stat().st_size / 1e6:.1f} MB  {state}")
