"""Checkpoints: everything that a run needs to go on, in one file that is whole or absent."""

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mien.atomic import open_atomic
from mien.errors import CheckpointError
from mien.models import MODELS
from mien.training.config import Config, config_from_dict

SCHEMA = 1

FREE_TO_CHANGE = {
    "name",
    "card",
    "data.path",
    "data.store",
    "model.pretrained",
    "target.store",
    "training.device",
    "training.amp",
    "training.threads",
    "training.workers",
    "training.checkpoint_steps",
    "training.evaluate_steps",
    "training.tensorboard",
}
"""What a resumed run may be told anew; the last bits of the weights may then differ for device, amp, threads and
workers. The pretrained start is not read again."""


@dataclass(kw_only=True)
class Checkpoint:
    """The state of a run after `step` steps.

    The learning rate, the order of the faces and every random number are functions of the configuration and the step,
    so they need no state of their own.
    """

    step: int
    config: dict[str, Any]
    labels: tuple[str, ...]
    model: dict[str, Any]
    ema: dict[str, Any]
    optimizer: dict[str, Any]
    metrics: dict[str, Any]
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of float16 gradients; empty where there are none."""
    data: dict[str, str] = field(default_factory=dict)
    """Kind and licence of the data set that was learned from, as its adapter gives them; older versions left none."""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint beside its old version, then put it in its place: a kill at any instant leaves one whole."""
    with open_atomic(path) as file:
        torch.save({"schema": SCHEMA, **vars(checkpoint)}, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint on the CPU; nothing in it is executed.

    Raises:
        CheckpointError: when it is missing, broken, or of another schema.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}.")
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch's own message would advise to run code from the file
        raise CheckpointError(f"{path} is not a whole checkpoint of mien; resume from another.") from None
    if not isinstance(record, dict) or record.pop("schema", None) != SCHEMA:
        raise CheckpointError(f"{path} is no checkpoint of this version of mien.")
    return Checkpoint(**record)


def check_same_recipe(saved: dict[str, Any], config: Config) -> None:
    """Refuse to go on from the checkpoint of another recipe. What the saved one does not name is at its default.

    Raises:
        CheckpointError: naming the first difference.
    """
    _compare(_complete(config_from_dict(saved)), _complete(config))


def _complete(config: Config) -> dict[str, Any]:
    """A recipe as plain values, with the network's own options that it leaves at their defaults."""
    record = config.to_dict()
    options = inspect.signature(MODELS[config.model.name]).parameters if config.model.name in MODELS else {}
    defaults = {name: option.default for name, option in options.items() if name != "classes"}
    record["model"] = defaults | record["model"]
    return record


def _compare(saved: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> None:
    for key in wanted | saved:
        name, before, value = f"{prefix}{key}", saved.get(key), wanted.get(key)
        if name in FREE_TO_CHANGE:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            _compare(before, value, f"{name}.")
        elif before != value and not _is_same_path(before, value):
            raise CheckpointError(
                f"the checkpoint was made with {name}={before}, not {value}. Give the same recipe to resume."
            )


def _is_same_path(before: object, value: object) -> bool:
    """Whether both name the same files, one or a list: a recipe's `./` stands for its folder, as it was typed."""
    if isinstance(before, list | tuple) and isinstance(value, list | tuple) and len(before) == len(value):
        return all(_is_same_path(one, other) for one, other in zip(before, value, strict=True))
    return (
        isinstance(before, str) and isinstance(value, str) and Path(before).resolve() == Path(value).resolve()
    )
