"""Configuration of a training run: dataclass defaults, overridden by a TOML recipe, overridden by arguments."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from mien.addresses import path_problem
from mien.errors import ConfigError, reason
from mien.faces.alignment import MARGINS, TEMPLATES
from mien.records import convert_record


def _check(section: str, config: object, expected: str, is_valid: Callable[[float], bool], *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not math.isfinite(value):
            raise ConfigError(f"{section}.{name} is {value}; expected a finite number.")
        if not is_valid(value):
            raise ConfigError(f"{section}.{name} is {value}; expected {expected}.")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network and its initial weights.

    Attributes:
        name: a key of `mien.models.MODELS`.
        pretrained: file of initial weights; empty for random weights. From a checkpoint (.ckpt), the tensors that fit
            are loaded; for other files see the network's `load_pretrained`.
        options: all other keys of the section: keyword arguments of the network's class.
    """

    name: str = "face-mobilenet"
    pretrained: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The training data.

    Attributes:
        dataset: a key of `mien.datasets.ADAPTERS`.
        path: path of the data set.
        license: license of your own data, for kinds of data set whose license mien does not know (folder, table).
        exclude: list of leaked images (CSV) that are excluded from training; empty excludes none.
        store: folder of the prepared faces; empty stores them in the run's folder.
        patch: side in pixels of prepared faces; below `size`, detail is lost. Patches of photographs are twice as wide,
            to include the surroundings of the face.
        size: side in pixels of the crops for the network.
        template, margin: see `mien.faces.alignment`.
        balance: 0 uses every face at most once per epoch; faces that do not fill a batch (`training.batch`) are left
            out, different ones in each epoch. Above 0, faces are drawn with replacement, from each class in
            proportion to its size to the power of 1 - balance; at 1, all classes are equally frequent.
    """

    dataset: str = "ferplus"
    path: str = ""
    license: str = ""
    exclude: str = ""
    store: str = ""
    patch: int = 96
    size: int = 64
    template: str = "ferplus"
    margin: float = 0.0
    balance: float = 0.0

    def __post_init__(self) -> None:
        low, high = MARGINS
        _check("data", self, "0 to 1", lambda value: 0 <= value <= 1, "balance")
        _check("data", self, f"{low} to {high}", lambda value: low <= value <= high, "margin")
        _check("data", self, "1 or more pixels", lambda value: value >= 1, "patch", "size")
        if self.template not in TEMPLATES:
            raise ConfigError(f"data.template is {self.template!r}; expected one of {', '.join(TEMPLATES)}.")


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """The target distribution of a face: a mixture with normalized weights.

    Attributes:
        votes: weight of the data set's own label distribution.
        teacher: weight of the teachers' predictions. 1 with votes = 0 is label distribution training as published
            (Zhao, Liu, Zhou, AAAI 2021).
        hard: weight of the most frequent class as a one-hot distribution.
        temperature: divisor of the teachers' logits; replaces the one in their manifests.
        smoothing: share of the mixture that is distributed evenly over the classes.
        teachers: model files (.onnx) or names of shipped models; their probabilities are averaged.
        valence_arousal: weight of the mean squared error of valence and arousal, predicted by a second head that is
            added to the network; 0 adds none. Faces without values count for the classes only.
        feature_distillation: weight of the mean squared difference between the pooled features of the network and of
            the feature teacher; 0 disables it.
        feature_teacher: model file (.onnx) with an embedding at most as wide as the network's; the network's first
            features learn from it.
        flip_tta: average a teacher's outputs for a face and its mirror image.
        cache: run teachers once per face, on its plain crop; False runs them on the augmented crops of every step.
        store: folder in which outputs of teachers are cached for other runs; empty caches them in the run's folder.
    """

    votes: float = 1.0
    teacher: float = 0.0
    hard: float = 0.0
    temperature: float = 1.0
    smoothing: float = 0.0
    teachers: tuple[str, ...] = ()
    valence_arousal: float = 0.0
    feature_distillation: float = 0.0
    feature_teacher: str = ""
    flip_tta: bool = True
    cache: bool = True
    store: str = ""

    def __post_init__(self) -> None:
        weights = ("votes", "teacher", "hard", "valence_arousal", "feature_distillation")
        _check("target", self, "0 or more", lambda value: value >= 0, *weights)
        if self.votes + self.teacher + self.hard == 0:
            raise ConfigError("target.votes, teacher and hard: expected 0 or more, and not all 0.")
        if self.teacher > 0 and not self.teachers:
            raise ConfigError("target.teacher is above 0: name the models, target.teachers = ['model.onnx'].")
        if self.feature_distillation > 0 and not self.feature_teacher:
            raise ConfigError(
                "target.feature_distillation is above 0: name the model, target.feature_teacher = 'model.onnx'."
            )
        _check("target", self, "more than 0", lambda value: value > 0, "temperature")
        _check("target", self, "0 to below 1", lambda value: 0 <= value < 1, "smoothing")


UNSCALED_PROBABILITIES = ("unaligned", "flip")
SCALED_PROBABILITIES = ("grayscale", "low_resolution", "blur", "sharpen", "jpeg", "noise", "random_erasing")
"""Attributes of an `AugmentConfig` that are probabilities, multiplied by its strength."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Augmentation of training faces. Angles are in degrees, lengths are fractions of the crop's side.

    Attributes:
        strength: factor of all ranges and all probabilities except unaligned, flip and mixup; at 0 only these three are
            active.
        unaligned: probability of the data set's original framing in place of the aligned crop, for data sets of face
            crops; photographs are always aligned.
        flip: probability of a horizontal flip.
        rotate: maximum rotation in either direction.
        scale: maximum relative change of scale.
        shift: maximum shift.
        brightness: maximum change, as a fraction of the value range.
        contrast: maximum change of contrast and of gamma.
        tint: maximum change of one color channel against the others.
        grayscale: probability of conversion to gray.
        low_resolution: probability of resizing down and up again.
        blur: probability of a Gaussian blur.
        sharpen: probability of an unsharp mask.
        jpeg: probability of JPEG compression.
        noise: probability of Gaussian noise.
        random_erasing: probability of filling a random rectangle.
        mixup: alpha of the Beta distribution of mixup weights; 0 disables mixup.
    """

    strength: float = 1.0
    unaligned: float = 0.4
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
        names = [field.name for field in dataclasses.fields(self)]
        _check("augment", self, "0 or more", lambda value: value >= 0, *names)
        probabilities = (*UNSCALED_PROBABILITIES, *SCALED_PROBABILITIES)
        _check("augment", self, "a probability, 0 to 1", lambda value: value <= 1, *probabilities)


BEST_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "loss")
"""Validation metrics that can choose `best.ckpt`; the highest value is the best, of `loss` the lowest."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """Optimization, hardware, and the intervals of checkpoints and evaluations.

    Attributes:
        epochs: passes over the training split, each without the faces that do not fill a batch.
        batch: faces per step, over all processes.
        accumulate: number of parts into which a batch is split to save memory; their gradients are accumulated.
        lr: peak learning rate of the trunk.
        head_lr: peak learning rate of the classifier.
        weight_decay: weight decay of AdamW, applied to weight matrices only.
        warmup: steps from 0 to the peak.
        ema: decay of the moving average of the weights; the averaged weights are evaluated and exported.
        clip: maximum norm of the gradient; inf does not limit it.
        logit_adjustment: correction for rare classes, tau of `mien.losses.adjust_logits`; 0 disables it.
        sam: radius (rho) of sharpness-aware minimization, usually 0.05; 0 disables it. Doubles the time.
        consistency: weight of `mien.losses.attention_consistency_loss`; 0 disables it. Doubles the time.
        seed: seed of all random numbers.
        device: "auto", "cpu", "cuda" or "mps".
        amp: mixed precision on a GPU: bfloat16, or float16 on GPUs without bfloat16.
        cpu_amp: mixed precision with bfloat16 on the CPU: faster for ResNet-50 on CPUs with AVX512-BF16 or AMX.
        channels_last: store images and weights with the channels last: faster in mixed precision, on GPUs and CPUs.
        threads: CPU threads; 0 uses torch's default.
        workers: threads that prefetch batches; -1 uses the remaining cores with a GPU and none on the CPU.
        checkpoint_steps: steps between checkpoints.
        evaluate_steps: steps between evaluations on the validation split; 0 evaluates after every epoch. The last step
            is always evaluated.
        best_metric: validation metric by which `best.ckpt` is chosen, one of `BEST_METRICS`; of equal evaluations the
            one with the lower loss, then the earlier one.
        tensorboard: write TensorBoard events in addition to the log.
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
    cpu_amp: bool = False
    channels_last: bool = False
    threads: int = 0
    workers: int = -1
    checkpoint_steps: int = 100
    evaluate_steps: int = 0
    best_metric: str = "accuracy"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        positive = ("epochs", "batch", "accumulate", "lr", "head_lr", "checkpoint_steps")
        _check("training", self, "more than 0", lambda value: value > 0, *positive)
        not_negative = (
            "weight_decay",
            "warmup",
            "logit_adjustment",
            "sam",
            "consistency",
            "seed",
            "threads",
            "evaluate_steps",
        )
        _check("training", self, "0 or more", lambda value: value >= 0, *not_negative)
        if not self.clip > 0:
            raise ConfigError(f"training.clip is {self.clip}; expected more than 0.")
        _check("training", self, "-1, 0 or more", lambda value: value >= -1, "workers")
        _check("training", self, "0 to below 1", lambda value: 0 <= value < 1, "ema")
        if self.best_metric not in BEST_METRICS:
            expected = ", ".join(BEST_METRICS)
            raise ConfigError(f"training.best_metric is {self.best_metric!r}; expected one of {expected}.")


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Version and license of the weights, for the manifest of the exported model.

    What the weights learned from follows from the run; see `mien.training.sources`.

    Attributes:
        version: version of the weights.
        license: license of the weights; the manifest adds the restrictions of the data and models behind them.
    """

    version: str = "0"
    license: str = ""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A complete recipe."""

    name: str = "run"
    card: CardConfig = field(default_factory=CardConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: LoopConfig = field(default_factory=LoopConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved configuration as plain values, in the form of a recipe."""
        record = dataclasses.asdict(self)
        record["model"] |= record["model"].pop("options")
        return record


RENAMED_KEYS = {
    "augment.erase": "augment.random_erasing",
    "augment.own_framing": "augment.unaligned",
    "augment.to_grey": "augment.grayscale",
    "card.licence": "card.license",
    "model.grey": "model.grayscale",
    "target.embedder": "target.feature_teacher",
    "target.embedding": "target.feature_distillation",
    "target.mirror": "target.flip_tta",
}
"""New names of recipe keys of earlier versions."""

REMOVED_KEYS = {
    "card.trained_on": "Remove it: the manifest states the data and models that were used. data.license is the license "
    "of your own data."
}
"""Recipe keys of earlier versions without a successor, and what to do about them."""


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Read a TOML recipe and apply overrides of the form `section.key=value`.

    Paths in a recipe that start with `./` are relative to the recipe's folder, other paths to the working directory.

    Raises:
        ConfigError: if the file is missing or not TOML, a key is unknown, or a value has the wrong type.
    """
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(path_problem(path) or f"no recipe at {path}: {reason(error)}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    record = _resolve_paths(record, path.parent)
    for override in overrides:
        _apply(record, override)
    return config_from_dict(record)


def config_from_dict(record: dict[str, Any]) -> Config:
    """Build a configuration from nested plain values.

    Raises:
        ConfigError: if a key is unknown, or a value has the wrong type.
    """
    for old, hint in {**RENAMED_KEYS, **REMOVED_KEYS}.items():
        section, key = old.split(".")
        if isinstance(values := record.get(section), dict) and key in values:
            raise ConfigError(f"unknown key {old}. {hint if old in REMOVED_KEYS else f'It is now named {hint}.'}")
    record = dict(record)
    if isinstance(model := record.get("model"), dict):
        own = {key: value for key, value in model.items() if key in ("name", "pretrained")}
        record["model"] = own | {"options": {key: value for key, value in model.items() if key not in own}}
    return convert_record(record, Config, error=ConfigError)


def _resolve_paths(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _resolve_paths(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve_paths(item, folder) for item in value]
    return str(folder / value) if isinstance(value, str) and value.startswith("./") else value


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
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    kind: Any = Config
    for name in (*sections, last):
        kind = get_type_hints(kind).get(name) if dataclasses.is_dataclass(kind) else None
    # text fields take a number or date as it is written: card.version=2
    record[last] = text if kind is str and not isinstance(value, str) else value
