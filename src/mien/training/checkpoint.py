"""Checkpoints: everything that a run needs to go on, in one file that is whole or absent."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mien.errors import CheckpointError
from mien.files import written_whole

SCHEMA = 1


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


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint beside its old version, then put it in its place: a kill at any instant leaves one whole."""
    with written_whole(path) as file:
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
