"""Training sources: the data sets and models behind the weights of a run, with their licenses."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.datasets import Index
from mien.errors import CheckpointError, ConfigError
from mien.manifest import RESTRICTION, UNSTATED_LICENSE, Manifest, TrainingSource, file_sha256, read_manifest
from mien.records import convert_record
from mien.runtime import find_model
from mien.training.checkpoint import Checkpoint, load_checkpoint
from mien.training.config import Config

IMAGENET = (
    TrainingSource(name="initial weights: torchvision's ResNet-50, IMAGENET1K_V2", license="BSD-3-Clause"),
    TrainingSource(name="ImageNet, training images of torchvision's ResNet-50", license="non-commercial research"),
)
"""Sources of the weights that `model.pretrained = "imagenet"` downloads."""

IMAGENET_SHA256 = "11ad3fa6"
"""Start of the SHA-256 of their file, which torchvision names resnet50-11ad3fa6.pth."""


@dataclass(frozen=True, kw_only=True)
class WeightsCard:
    """Origin of a file of pretrained weights: a JSON file of the same name beside it.

    Attributes:
        sha256: hex SHA-256 of the weights.
        trained_on: what the weights are and what they learned from.
    """

    sha256: str
    trained_on: tuple[TrainingSource, ...]


def run_sources(
    config: Config, index: Index, rows: Sequence[int], checkpoint: Checkpoint | None
) -> list[TrainingSource]:
    """Return the sources of a run: its training faces, its initial weights and its teachers, each named once.

    Args:
        config: the recipe.
        index: the data set that was read.
        rows: rows of its samples that are trained on.
        checkpoint: checkpoint that the run resumes from; its initial weights and teachers remain.

    Raises:
        ConfigError: if a license is given for data whose license is known, or a weights card does not fit.
        ModelError: if a model file or checkpoint cannot be read.
    """
    data = list(dict.fromkeys(data_sources(index, rows, config.data.license)))
    earlier = checkpoint.trained_on if checkpoint else ()
    # its first sources are the same data, perhaps with another name or license
    initial = earlier[len(data) :] if earlier else initial_sources(config)
    return list(dict.fromkeys([*data, *initial, *teacher_sources(config)]))


def data_sources(index: Index, rows: Sequence[int], own_license: str) -> list[TrainingSource]:
    """Return each data set with the number of its faces among `rows`.

    Args:
        index: the data set.
        rows: rows of its samples that are trained on.
        own_license: license of the data in folders and tables, as the user states it; may be empty.

    Raises:
        ConfigError: if a license is given, and that of all data is known.
    """
    parts = index.parts or {"": TrainingSource(name=index.title or index.name, license=index.license)}
    if own_license and all(part.license != UNSTATED_LICENSE for part in parts.values()):
        known = "; ".join(f"{part.name}: {part.license}" for part in parts.values())
        raise ConfigError(f"data.license is for your own data in folders and tables; this data has one ({known}).")
    counts = Counter(index.samples[row].id.partition("/")[0] if index.parts else "" for row in rows)
    stated = f"{own_license} (stated by the user)" if own_license else UNSTATED_LICENSE
    return [
        TrainingSource(
            name=f"{part.name}, {counts[key]:,} training faces",
            license=stated if part.license == UNSTATED_LICENSE else part.license,
        )
        for key, part in parts.items()
        if counts[key]
    ]


def initial_sources(config: Config) -> tuple[TrainingSource, ...]:
    """Return the sources of the pretrained weights of a recipe; none for random weights."""
    text = config.model.pretrained
    path = Path(text)
    if not text:
        return ()
    if path.name == "imagenet":
        return IMAGENET
    if path.suffix == ".ckpt":
        return checkpoint_sources(load_checkpoint(path), path)
    if path.suffix in ("", ".onnx"):
        return model_sources(read_manifest(find_model(path)), "initial weights")
    return _read_card(path)


def teacher_sources(config: Config) -> list[TrainingSource]:
    """Return the sources of the teachers that a recipe uses."""
    return [
        source
        for name in _used_teachers(config)
        for source in model_sources(read_manifest(find_model(name)), "teacher")
    ]


def hash_teachers(config: Config) -> tuple[str, ...]:
    """Return the SHA-256 of the files of the teachers that a recipe uses, the feature teacher last.

    Raises:
        ModelError: if a file cannot be read.
    """
    return tuple(file_sha256(find_model(name)) for name in _used_teachers(config))


def check_same_teachers(checkpoint: Checkpoint, config: Config) -> None:
    """Check that the teachers of a recipe are the files that a checkpoint was trained with, where it states them.

    Raises:
        CheckpointError: if a file differs; the message names the first one.
    """
    if not checkpoint.teachers:
        return
    for name, before, now in zip(_used_teachers(config), checkpoint.teachers, hash_teachers(config), strict=True):
        if before != now:
            raise CheckpointError(
                f"the teacher {name} is another model than the one that the checkpoint was trained with. Restore its "
                "file to resume, or start a new run."
            )


def _used_teachers(config: Config) -> list[str]:
    """Return the names or paths of the teachers with a weight above 0, the feature teacher last."""
    target = config.target
    return [
        *(target.teachers if target.teacher else ()),
        *([target.feature_teacher] * (target.feature_distillation > 0)),
    ]


def model_sources(manifest: Manifest, role: str) -> tuple[TrainingSource, ...]:
    """Return a model as a source, followed by its own sources."""
    # the restrictions follow from the sources of the model, which are listed too
    license_name = manifest.license.partition(RESTRICTION)[0]
    model = TrainingSource(name=f"{role}: model {manifest.name}, version {manifest.version}", license=license_name)
    return model, *(manifest.trained_on or (TrainingSource(name=f"training data of {manifest.name}"),))


def checkpoint_sources(checkpoint: Checkpoint, path: Path) -> tuple[TrainingSource, ...]:
    """Return the sources of a checkpoint; for one of an earlier version, what its recipe states."""
    if checkpoint.trained_on:
        return checkpoint.trained_on
    data = checkpoint.data
    own = [TrainingSource(name=data["name"], license=data["license"])] if data else []
    stated = checkpoint.config.get("card", {}).get("trained_on", ())
    sources = (*own, *(TrainingSource(**source) for source in stated))
    return sources or (TrainingSource(name=f"initial weights: {path.name}"),)


def _read_card(weights: Path) -> tuple[TrainingSource, ...]:
    path = weights.with_suffix(".json")
    if not path.is_file():
        is_imagenet = file_sha256(weights).startswith(IMAGENET_SHA256)
        return IMAGENET if is_imagenet else (TrainingSource(name=f"initial weights: {weights.name}"),)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}.") from None
    card = convert_record(record, WeightsCard, where=path.name, error=ConfigError)
    if card.sha256 != file_sha256(weights):
        raise ConfigError(
            f"{path} describes another file than {weights.name}: its sha256 differs. Correct or remove it."
        )
    return card.trained_on
