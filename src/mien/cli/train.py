"""`mien train`: train a model from a recipe."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

from mien.cli.options import OUTPUT_FOLDER, Quiet
from mien.cli.progress import ProgressBar, progress_bar
from mien.errors import MissingExtraError
from mien.number_format import percent

LINE_INTERVAL_S = 120.0
"""Seconds between two lines of progress without a terminal."""


def train(
    recipe: Path,
    /,
    *overrides: str,
    output: Annotated[Path | None, OUTPUT_FOLDER] = None,
    resume: bool = False,
    quiet: Quiet = False,
) -> None:
    """Train a model from a recipe; under torchrun all processes share each batch.

    Args:
        recipe: TOML file; recipes/ has those of the shipped models.
        overrides: settings that replace those of the recipe, as section.key=value (data.path=ferplus.zip
            training.epochs=1).
        output: folder for last.ckpt, best.ckpt, log.jsonl, metrics.json and plots [default: runs/NAME].
        resume: continue from the last checkpoint in the folder, if there is one.
    """
    from mien.training.config import read_recipe

    config = read_recipe(recipe, overrides)
    try:
        from mien.reports.training import MISSING_PLOTS
        from mien.training.checkpoint import load_checkpoint
        from mien.training.distributed import is_main_process
        from mien.training.loop import train as train_model
    except ImportError as error:
        raise MissingExtraError(f"Training ({error.name} is missing)", "train") from None

    folder = output or Path("runs") / config.name
    is_main = is_main_process()
    is_shown = is_main and not quiet
    with progress_bar("training", is_shown=is_shown) as bar:
        show = _Lines(bar) if is_shown and not sys.stderr.isatty() else bar
        path = train_model(
            config,
            folder,
            resume=resume,
            on_step=lambda done, total, loss, rate: show(done, total, f"loss {loss:.3f}  {rate:.0f} faces/s"),
            on_prepare=lambda done, total: show(done, total, "detecting faces"),
            on_teacher=lambda done, total: show(done, total, "teacher predictions"),
            on_evaluate=(lambda step, total, record: bar.print(_describe(step, total, record))) if is_shown else None,
            on_message=bar.print if is_shown else None,
        )
        if is_shown and not (folder / "confusion.png").exists():
            bar.print(MISSING_PLOTS)
    if is_main:
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in load_checkpoint(path).metrics.items())
        print(f"{path}  {metrics}")


def _describe(step: int, total: int, record: dict[str, float]) -> str:
    """Return one line about an evaluation on validation data."""
    best = "  best so far" if record["is_best"] else ""
    return (
        f"epoch {record['epoch']:.3g}  step {step:,} of {total:,}  validation loss {record['loss']:.3f}  accuracy "
        f"{percent(record['accuracy'])}  balanced {percent(record['balanced_accuracy'])}{best}"
    )


class _Lines:
    """Prints the progress as a line every few minutes, for logs and pipes."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._printed_s = time.monotonic()

    def __call__(self, done: int, total: int, note: str) -> None:
        """Print a line if the last one is old enough."""
        if time.monotonic() - self._printed_s >= LINE_INTERVAL_S:
            self._printed_s = time.monotonic()
            self._bar.print(f"{done:,} of {total:,}  {note}")
