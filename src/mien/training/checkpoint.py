"""Checkpoints: the complete state of a run in one file that is written atomically."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mien.addresses import path_problem
from mien.atomic import open_atomic
from mien.errors import CheckpointError, ConfigError, reason
from mien.manifest import TrainingSource
from mien.models.registry import complete_options
from mien.training.config import REMOVED_KEYS, RENAMED_KEYS, Config, config_from_dict

SCHEMA = 1

LAST = "last.ckpt"
BEST = "best.ckpt"
"""Checkpoints of a run: of its last step, and of its best evaluation by `training.best_metric`."""

CHANGEABLE_KEYS = {
    "name",
    "card",
    "data.license",
    "data.path",
    "data.store",
    "model.pretrained",
    "target.store",
    "training.device",
    "training.amp",
    "training.cpu_amp",
    "training.channels_last",
    "training.threads",
    "training.workers",
    "training.checkpoint_steps",
    "training.best_metric",
    "training.evaluate_steps",
    "training.tensorboard",
}
"""Keys that may differ when a run is resumed. With another device, precision, or number of threads or workers the last
bits of the weights may differ. Pretrained weights are not loaded again."""


@dataclass(kw_only=True)
class Checkpoint:
    """The state of a run after `step` steps.

    Learning rate, order of the faces and random numbers are functions of the configuration and the step, and need no
    state.
    """

    step: int
    config: dict[str, Any]
    labels: tuple[str, ...]
    model: dict[str, Any]
    ema: dict[str, Any]
    optimizer: dict[str, Any]
    metrics: dict[str, Any]
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the gradient scaler for float16; empty without one."""
    data: dict[str, str] = field(default_factory=dict)
    """Kind and license of the training data, from the data set's adapter."""
    samples: str = ""
    """Result of `hash_samples` for the training and validation faces; "" in checkpoints of earlier versions."""
    teachers: tuple[str, ...] = ()
    """Result of `hash_teachers`; empty without teachers, and in checkpoints of earlier versions."""
    trained_on: tuple[TrainingSource, ...] = ()
    """Data and models behind the weights; empty in checkpoints of earlier versions."""


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: a kill at any time leaves the old or the new one.

    Raises:
        CheckpointError: if it cannot be written, for example to a full disk; the old one is unchanged.
    """
    sources = [asdict(source) for source in checkpoint.trained_on]
    try:
        with open_atomic(path) as file:
            torch.save({"schema": SCHEMA, **vars(checkpoint), "trained_on": sources}, file)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
        problem = reason(error) if isinstance(error, OSError) else str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} cannot be written ({problem}). Free disk space and add --resume; earlier checkpoints are kept."
        ) from None


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint at a path: the file itself, of a run's folder the best one, or else the last.

    Raises:
        CheckpointError: if there is none.
    """
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(f"{path} has no checkpoint: expected {BEST} or {LAST}, as mien train writes them.")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint on the CPU, without executing code from it.

    Raises:
        CheckpointError: if it is missing, broken, or of another schema.
    """
    if not path.is_file():
        raise CheckpointError(path_problem(path) or f"no checkpoint at {path}.")
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch's message advises to run code from the file
        other = path.with_name(LAST if path.name == BEST else BEST)
        advice = f"remove it to use {other.name}" if path.name in (BEST, LAST) and other.is_file() else "use another"
        raise CheckpointError(f"{path} is not a complete checkpoint of mien; {advice}.") from None
    if not isinstance(record, dict) or record.pop("schema", None) != SCHEMA:
        raise CheckpointError(f"{path} is not a checkpoint of this version of mien.")
    try:
        sources = tuple(TrainingSource(**source) for source in record.pop("trained_on", ()))
        return Checkpoint(**record, trained_on=sources)
    except TypeError as error:
        problem = str(error).partition("() ")[2]
        raise CheckpointError(f"{path} is not a checkpoint of this version of mien ({problem}).") from None


def config_from_saved(record: dict[str, Any]) -> Config:
    """Build the configuration in a checkpoint, which may be of an earlier version.

    Raises:
        ConfigError: if a key is unknown to this version.
    """
    sections = {name: dict(values) if isinstance(values, dict) else values for name, values in record.items()}
    for old in REMOVED_KEYS:
        section, key = old.split(".")
        sections.get(section, {}).pop(key, None)
    for old, new in RENAMED_KEYS.items():
        section, key = old.split(".")
        if key in sections.get(section, {}):
            sections[section][new.split(".")[1]] = sections[section].pop(key)
    return config_from_dict(sections)


def saved_config(checkpoint: Checkpoint, path: Path) -> Config:
    """Return the recipe in a checkpoint.

    Raises:
        CheckpointError: if it is of another version.
    """
    try:
        return config_from_saved(checkpoint.config)
    except ConfigError as error:
        raise CheckpointError(f"{path} was made by another version of mien: {error}") from None


def check_same_recipe(saved: dict[str, Any], config: Config) -> None:
    """Check that a checkpoint was made with the same recipe; keys that it lacks have their default values.

    Raises:
        CheckpointError: if a key differs; the message names the first one.
        ConfigError: if the checkpoint has a key that this version does not know.
    """
    _compare(_complete(config_from_saved(saved)), _complete(config))


def _complete(config: Config) -> dict[str, Any]:
    """Return a recipe as plain values, with the defaults of the network's options."""
    record = config.to_dict()
    record["model"] |= complete_options(config.model.name, config.model.options)
    return record


def _compare(saved: dict[str, Any], current: dict[str, Any], prefix: str = "") -> None:
    for key in current | saved:
        name, old, new = f"{prefix}{key}", saved.get(key), current.get(key)
        if name in CHANGEABLE_KEYS:
            continue
        if isinstance(new, dict) and isinstance(old, dict):
            _compare(old, new, f"{name}.")
        elif old != new and not _is_same_path(old, new):
            raise CheckpointError(
                f"the checkpoint was made with {name}={old}, not {new}. Use the same recipe to resume."
            )


def _is_same_path(old: object, new: object) -> bool:
    """Return whether both are paths, or lists of paths, of the same files."""
    if isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        return all(_is_same_path(*pair) for pair in zip(old, new, strict=True))
    return isinstance(old, str) and isinstance(new, str) and Path(old).resolve() == Path(new).resolve()
