"""`mien train`: a recipe in, a checkpoint and a log out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.cli.progress import progress_bar
from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from mien.training.config import Config


def train(
    recipe: Path,
    *overrides: str,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    resume: bool = False,
) -> None:
    """Train a model as a recipe says; under torchrun its processes share every batch.

    Args:
        recipe: a TOML file; see recipes/ for those behind the published numbers.
        overrides: section.key=value, over the recipe: data.path=ferplus.zip training.epochs=1
        output: folder of the run (default: runs/NAME). Gets last.ckpt, log.jsonl, metrics.json and plots.
        resume: go on from the folder's last checkpoint where there is one.
    """
    from mien.training.config import read_recipe

    config = read_recipe(recipe, overrides)
    directory = output or Path("runs") / config.name
    _train(config, directory, resume)


def _train(config: Config, directory: Path, resume: bool) -> None:
    try:
        from mien.reports.training import ADVICE
        from mien.training.checkpoint import load_checkpoint
        from mien.training.distributed import is_main_process
        from mien.training.loop import train
    except ImportError as error:
        raise MissingExtraError(f"Training ({error.name} is missing)", "train") from None

    is_main = is_main_process()
    with progress_bar("training", is_wanted=is_main) as bar:
        path = train(
            config,
            directory,
            resume=resume,
            on_step=lambda done, count, loss, rate: bar(done, count, f"loss {loss:.3f}  {rate:.0f} faces/s"),
            on_prepare=lambda done, count: bar(done, count, "finding faces"),
            on_teach=lambda done, count: bar(done, count, "asking the teachers"),
            on_left_out=bar.tell if is_main else None,
        )
        if is_main and not (directory / "confusion.png").exists():
            bar.tell(ADVICE)
    if is_main:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in load_checkpoint(path).metrics.items())
        print(f"{path}  {shown}")
