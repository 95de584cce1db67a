"""`mien train`: a recipe in, a checkpoint and a log out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mien.errors import MissingExtraError


def train(
    recipe: Path,
    *overrides: str,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    resume: bool = False,
) -> None:
    """Train a model as a recipe says.

    Args:
        recipe: a TOML file; see recipes/ for those behind the published numbers.
        overrides: section.key=value, over the recipe: data.path=ferplus.zip training.epochs=1
        output: folder of the run (default: runs/NAME). Gets last.ckpt and log.jsonl.
        resume: go on from the folder's last checkpoint where there is one.
    """
    from mien.training.config import read_recipe

    config = read_recipe(recipe, overrides)
    directory = output or Path("runs") / config.name
    path, metrics = _train_with_progress(config, directory, resume)
    shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    print(f"{path}  {shown}")


def _train_with_progress(config, directory: Path, resume: bool):  # noqa: ANN001, ANN202 - torch stays out of the import
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    try:
        from mien.training.checkpoint import load_checkpoint
        from mien.training.loop import train
    except ImportError as error:
        raise MissingExtraError(f"Training ({error.name} is missing)", "train") from None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as bar:
        faces = bar.add_task("finding faces", total=None, note="", visible=False)
        steps = bar.add_task("training", total=None, note="")

        def on_prepare(done: int, count: int) -> None:
            bar.update(faces, completed=done, total=count, visible=True)

        def on_step(done: int, count: int, loss: float, rate: float) -> None:
            bar.update(steps, completed=done, total=count, note=f"loss {loss:.3f}  {rate:.0f} faces/s")

        path = train(config, directory, resume=resume, on_step=on_step, on_prepare=on_prepare)
    return path, load_checkpoint(path).metrics
