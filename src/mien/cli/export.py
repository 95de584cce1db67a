"""`mien export`: a checkpoint becomes a model file that `mien predict` reads."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter

from mien.cli.evaluate import warn_of_unreadable
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
) -> int:
    """Turn a checkpoint into an .onnx file with its manifest, checked against torch and calibrated.

    An older file of that name stays until the new one is whole. Exit code 1 when validation images are missing or
    broken: they count as errors in the manifest's numbers.

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
    output.parent.mkdir(parents=True, exist_ok=True)
    state, unreadable = "uncalibrated", []
    with TemporaryDirectory(prefix=".mien-", dir=output.parent) as folder:
        draft = Path(folder) / output.name
        export_model(checkpoint, draft, half=half, source={"commit": commit} if commit else None)
        if index:
            with progress_bar("calibrating") as advance:
                manifest, unreadable = calibrate(draft, index, abstain=abstain, progress=advance)
            state = f"temperature {manifest.temperature}, abstains below {manifest.abstain_below}"
        for path in (draft.with_suffix(".json"), draft):
            path.replace(output.with_name(path.name))
    print(f"{output}  {output.stat().st_size / 1e6:.1f} MB  {state}")
    return warn_of_unreadable(unreadable)
