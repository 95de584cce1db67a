"""Model files in float32 that `mien export` starts from, and their calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.messages import NOTHING_WRITTEN, print_message
from mien.cli.progress import progress_bar
from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from mien.datasets import Index
    from mien.export.format_spec import WeightType
    from mien.manifest import Manifest

DEFAULT_ABSTAIN = 0.02
"""Share of validation faces that a calibrated model leaves without a label."""


def write_float(model: Path, output: Path, weights: WeightType, commit: str) -> tuple[str, Manifest]:
    """Write a model file that computes in float32; return what it was made from, and its manifest."""
    from mien.runtime import find_model

    try:
        from mien.export.weights import restore_model
    except ImportError as error:
        raise MissingExtraError(f"Export ({error.name} is missing)", "adapt") from None
    if is_model_file(model):
        return str(model), restore_model(find_model(model), output, weights)
    checkpoint = _find_checkpoint(model)
    from mien.export.onnx import export_model

    manifest = export_model(checkpoint, output, weights=weights, source={"commit": commit} if commit else None)
    return f"{checkpoint}, step {manifest.source['step']}", manifest


def is_model_file(model: Path) -> bool:
    """Return whether a model is an .onnx file or the name of a shipped model, not a run or a checkpoint."""
    from mien.runtime import shipped_models

    return model.suffix == ".onnx" or (str(model) in shipped_models() and not model.exists())


def calibrate_model(model: Path, index: Index, abstain: float, *, quiet: bool) -> tuple[Manifest, list[str]]:
    """Calibrate a model file and print what could not be fitted; return manifest and unreadable images."""
    from mien.export.calibrate import calibrate

    with progress_bar("calibrating", is_shown=not quiet, on_stop=NOTHING_WRITTEN) as progress:
        manifest, unreadable, notes = calibrate(model, index, abstain=abstain, progress=progress)
    for note in notes:
        print_message(note)
    return manifest, unreadable


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
