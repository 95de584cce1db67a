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
    path, metrics = _train(config, directory, resume)
    shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    print(f"{path}  {shown}")


def _train(config: Config, directory: Path, resume: bool) -> tuple[Path, dict[str, float]]:
    try:
        from mien.training.checkpoint import load_checkpoint
        from mien.training.loop import train
    except ImportError as error:
        raise MissingExtraError(f"Training ({error.name} is missing)", "train") from None

    with (
        progress_bar("finding faces") as on_prepare,
        progress_bar("asking the teachers") as on_teach,
        progress_bar("training") as advance,
    ):

        def on_step(done: int, count: int, loss: float, rate: float) -> None:
            advance(done, count, f"loss {loss:.3f}  {rate:.0f} faces/s")

        path = train(
            config, directory, resume=resume, on_step=on_step, on_prepare=on_prepare, on_teach=on_teach
        )
    return path, load_checkpoint(path).metrics
