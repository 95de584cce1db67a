"""What a training run is told: frozen dataclasses, a TOML recipe over the defaults, overrides over the recipe."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import ConfigError
from mien.faces.alignment import MARGINS


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network, and how it starts.

    Attributes:
        name: a key of `mien.models.MODELS`.
        pretrained: weights to start from, a file; empty starts from random ones. A checkpoint (.ckpt) gives the weights
            that fit; for other files see the network's `load_pretrained`.
        options: every other key of the section: the keyword arguments of the network's class.
    """

    name: str = "face-mobilenet"
    pretrained: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which faces.

    Attributes:
        dataset: a key of `mien.datasets.ADAPTERS`.
        path: of the data set.
        exclude: a leak list (CSV) whose training images are left out; empty keeps all.
        store: folder of the prepared faces; empty keeps it in the run's folder.
        patch: side in pixels at which faces are prepared, no smaller than `size` to lose nothing. A photograph's patch
            is twice as wide, for the room around its face.
        size: side of the crop that the network is given.
        template: see `mien.faces.alignment`.
        margin: see `mien.faces.alignment`.
        balance: 0 shows every face once an epoch. Above 0 faces are drawn with replacement, a class as often as its
            size to the power of 1 - balance: 1 shows all classes equally often.
    """

    dataset: str = "ferplus"
    path: str = ""
    exclude: str = ""
    store: str = ""
    patch: int = 96
    size: int = 64
    template: str = "ferplus"
    margin: float = 0.0
    balance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"data.balance is {self.balance}; expected 0 to 1.")
        if not MARGINS[0] <= self.margin <= MARGINS[1]:
            raise ConfigError(f"data.margin is {self.margin}; expected {MARGINS[0]} to {MARGINS[1]}.")
        for name in ("patch", "size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"data.{name} is {getattr(self, name)}; expected 1 or more pixels.")


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """What the network is asked to say of a training face: a mixture, whose weights are brought to a sum of 1.

    Attributes:
        votes: weight of the data set's own label distribution.
        teacher: weight of what trained models say. 1 with votes = 0 is label distribution training as published (Zhao,
            Liu, Zhou, AAAI 2021).
        hard: weight of the likeliest class alone.
        temperature: the teachers' logits are divided by it; the one in their manifests is left aside.
        smoothing: share of the mixture that is spread evenly over the classes.
        teachers: model files (.onnx) or names of shipped models; the mean of their probabilities counts.
        embedding: weight of the loss that draws the network's pooled features to the embedder's; 0 does without.
        embedder: a model file (.onnx) whose embedding is as wide as the network's.
        flip_tta: a teacher averages a face and its mirror image.
        cache: teachers read the plain crop of every face once; otherwise the varied crops, at every step.
        store: folder where their readings are kept for other runs; empty keeps them in the run's folder.
    """

    votes: float = 1.0
    teacher: float = 0.0
    hard: float = 0.0
    temperature: float = 1.0
    smoothing: float = 0.0
    teachers: tuple[str, ...] = ()
    embedding: float = 0.0
    embedder: str = ""
    flip_tta: bool = True
    cache: bool = True
    store: str = ""

    def __post_init__(self) -> None:
        weights = (self.votes, self.teacher, self.hard)
        if min(weights) < 0 or sum(weights) <= 0:
            raise ConfigError("target.votes, teacher and hard are 0 or more, and not all 0.")
        if self.teacher > 0 and not self.teachers:
            raise ConfigError("target.teacher is above 0: name the models, target.teachers = ['model.onnx'].")
        if self.embedding < 0:
            raise ConfigError(f"target.embedding is {self.embedding}; expected 0 or more.")
        if self.embedding > 0 and not self.embedder:
            raise ConfigError("target.embedding is above 0: name the model, target.embedder = 'model.onnx'.")
        if self.temperature <= 0:
            raise ConfigError(f"target.temperature is {self.temperature}; expected more than 0.")
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"target.smoothing is {self.smoothing}; expected 0 to below 1.")


CHANCES = (
    "own_framing",
    "flip",
    "grayscale",
    "low_resolution",
    "blur",
    "sharpen",
    "jpeg",
    "noise",
    "random_erasing",
)
"""The parts of an `AugmentConfig` that are chances."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training faces are varied. Angles in degrees, lengths as a share of the crop, chances 0..1.

    Attributes:
        strength: multiplies every range, and every chance but those of own_framing, flip and mixup: at 0 these three
            are left.
        own_framing: chance of a face crop's own framing instead of the aligned crop; photographs have none.
        flip: chance of the mirror image.
        rotate: largest rotation either way.
        scale: largest change of scale.
        shift: largest shift.
        brightness: largest change, as a share of the whole range.
        contrast: largest change of contrast and of gamma.
        tint: largest change of one color channel against the others.
        grayscale: chance of dropping the colors.
        low_resolution: chance of a detour over a smaller image.
        blur: chance of a Gaussian blur.
        sharpen: chance of an unsharp mask.
        jpeg: chance of JPEG artifacts.
        noise: chance of grain.
        random_erasing: chance of a random rectangle.
        mixup: alpha of the Beta distribution that the shares of two mixed faces are drawn from; 0 mixes none.
    """

    strength: float = 1.0
    own_framing: float = 0.4
    flip: float = 0.5
    rotate: float = 15.0
    scale: float = 0.15
    shift: float = 0.08
    brightness: float = 0.15
    contrast: float = 0.25
    tint: float = 0.1
    grayscale: float = 0.2
    low_resolution: float = 0.15
    blur: float = 0.1
    sharpen: float = 0.2
    jpeg: float = 0.15
    noise: float = 0.15
    random_erasing: float = 0.25
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"augment.{name} is {value}; expected 0 or more.")
        for name in CHANCES:
            if getattr(self, name) > 1:
                raise ConfigError(f"augment.{name} is {getattr(self, name)}, a chance; expected 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How the network learns.

    Attributes:
        epochs: passes over the training split.
        batch: faces a step, of all processes together.
        accumulate: pieces that a step's faces go through the network in, one after another, where memory is short.
        lr: peak learning rate of the trunk.
        head_lr: peak learning rate of the classifier.
        weight_decay: AdamW's, on weight matrices alone.
        warmup: steps from 0 to the peak.
        ema: decay of the running average of the weights, which is what is evaluated and exported.
        clip: largest norm of the gradient.
        logit_adjustment: how strongly rare classes are made up for, tau of `mien.losses.adjust_logits`; 0 not at all.
        sam: how far sharpness-aware minimization steps aside (rho, 0.05 is usual); 0 does without. Twice the time.
        consistency: weight of `mien.losses.attention_consistency_loss`; 0 does without. Twice the time.
        seed: of everything random.
        device: "auto", "cpu", "cuda" or "mps".
        amp: mixed precision on a GPU: bfloat16, or float16 where it lacks that.
        threads: of the CPU; 0 leaves torch's choice.
        workers: threads that make batches ahead of the network; -1 takes the cores left beside a GPU, none on the CPU.
        checkpoint_steps: a checkpoint is written every so many steps.
        evaluate_steps: the validation split is measured every so many steps, and at the end.
        tensorboard: write TensorBoard events too.
    """

    epochs: float = 8.0
    batch: int = 64
    accumulate: int = 1
    lr: float = 6e-4
    head_lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200
    ema: float = 0.999
    clip: float = 5.0
    logit_adjustment: float = 0.0
    sam: float = 0.0
    consistency: float = 0.0
    seed: int = 0
    device: str = "auto"
    amp: bool = True
    threads: int = 0
    workers: int = -1
    checkpoint_steps: int = 100
    evaluate_steps: int = 400
    tensorboard: bool = False

    def __post_init__(self) -> None:
        positive = ("epochs", "batch", "accumulate", "lr", "head_lr", "clip")
        for name in (*positive, "checkpoint_steps", "evaluate_steps"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"training.{name} is {getattr(self, name)}; expected more than 0.")
        not_negative = ("weight_decay", "warmup", "logit_adjustment", "sam", "consistency", "seed", "threads")
        for name in not_negative:
            if getattr(self, name) < 0:
                raise ConfigError(f"training.{name} is {getattr(self, name)}; expected 0 or more.")
        if self.workers < -1:
            raise ConfigError(f"training.workers is {self.workers}; expected -1, 0 or more.")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"training.ema is {self.ema}; expected 0 to below 1.")


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """What the exported model's manifest says of its origin.

    Attributes:
        version: of the weights.
        licence: of the weights.
        trained_on: name and licence of every data set behind them, the pretrained start included.
    """

    version: str = "0"
    licence: str = "unstated"
    trained_on: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole recipe."""

    name: str = "run"
    card: CardConfig = field(default_factory=CardConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: LoopConfig = field(default_factory=LoopConfig)

    def to_dict(self) -> dict[str, Any]:
        """The resolved configuration as plain values, as a recipe would have them."""
        record = dataclasses.asdict(self)
        record["model"] |= record["model"].pop("options")
        return record


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Config:
    """A TOML recipe over the defaults, and `section.key=value` overrides over the recipe.

    Paths in a recipe that start with `./` are relative to the recipe's folder; other paths to the working folder.

    Raises:
        ConfigError: when the file is missing or no TOML, a key is unknown, or a value has the wrong type.
    """
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"no recipe at {path}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    _anchor_paths(record, path.parent)
    for override in overrides:
        _apply(record, override)
    return config_from_dict(record)


def config_from_dict(record: dict[str, Any]) -> Config:
    """A configuration from nested plain values.

    Raises:
        ConfigError: on an unknown key or a value of the wrong type.
    """
    record = dict(record)
    if isinstance(model := record.get("model"), dict):
        own = {key: value for key, value in model.items() if key in ("name", "pretrained")}
        record["model"] = own | {"options": {key: value for key, value in model.items() if key not in own}}
    return _build(Config, record, "")


def _anchor_paths(record: dict[str, Any], folder: Path) -> None:
    for section in record.values():
        for key, value in section.items() if isinstance(section, dict) else ():
            if isinstance(value, str):
                section[key] = _anchored(value, folder)
            elif isinstance(value, list):
                section[key] = [_anchored(item, folder) if isinstance(item, str) else item for item in value]


def _anchored(path: str, folder: Path) -> str:
    return str(folder / path) if path.startswith("./") else path


def _apply(record: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"override {override!r}: expected section.key=value.")
    *sections, last = key.strip().split(".")
    for section in sections:
        record = record.setdefault(section, {})
        if not isinstance(record, dict):
            raise ConfigError(f"override {override!r}: {section!r} is a value, not a section.")
    try:
        record[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        record[last] = text


def _build(kind: type, record: object, where: str) -> Any:
    if not isinstance(record, dict):
        raise ConfigError(f"{where.rstrip('.')}: expected a section, found {record!r}.")
    return kind(**convert_values(typing.get_type_hints(kind), record, where))


def convert_values(hints: Mapping[str, Any], record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values of the types that `hints` names.

    Args:
        hints: the type of every known key.
        record: what a recipe says.
        where: its section, with a dot behind it, for messages.

    Raises:
        ConfigError: on an unknown key or a value of the wrong type.
    """
    for key in record:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f" Did you mean {where}{near[0]}?" if near else f" Known: {', '.join(hints)}."
            raise ConfigError(f"unknown key {where}{key}.{hint}")
    return {key: _convert(hints[key], value, f"{where}{key}") for key, value in record.items()}


def _convert(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{where}.")
    if hint == tuple[dict[str, str], ...]:
        return _records(value, where)
    if hint == tuple[str, ...]:
        return _texts(value, where)
    if hint == dict[str, Any]:
        return dict(value)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: expected {hint.__name__}, found {value!r}.")
    return hint(value)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where}: expected a list of texts, found {value!r}.")
    return tuple(value)


def _records(value: Any, where: str) -> tuple[dict[str, str], ...]:
    is_list = isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value)
    if not is_list or not all(isinstance(text, str) for item in value for text in item.values()):
        raise ConfigError(f"{where}: expected a list of {{ name = ..., licence = ... }}, found {value!r}.")
    return tuple(value)
