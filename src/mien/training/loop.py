"""The training loop."""

import copy
import inspect
import math
import time
import typing
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien import metrics
from mien.datasets.check import Progress
from mien.errors import CheckpointError, ConfigError
from mien.losses import label_distribution_loss
from mien.models import MODELS, ExpressionNetwork
from mien.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mien.training.config import Config, ModelConfig, convert_values
from mien.training.data import Batches, Faces, evaluation_crops, load_faces
from mien.training.frozen import FrozenLayers
from mien.training.log import RunLog

LOG_STEPS = 10
CALIBRATION_FACES = 256

StepCallback = Callable[[int, int, float, float], None]
"""Called after every step with: steps done, all steps, loss, faces a second."""


def train(
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    on_step: StepCallback | None = None,
    on_prepare: Progress | None = None,
) -> Path:
    """Train as a recipe says; returns the path of the last checkpoint, `directory/last.ckpt`.

    Args:
        config: the recipe.
        directory: of the run; made when missing. Holds the checkpoint, `log.jsonl` and, unless the recipe names another
            place, the prepared faces.
        resume: go on from `last.ckpt` where there is one. On the CPU the result is the same, bit for bit.
        on_step: told of every step.
        on_prepare: told while faces are prepared.

    Raises:
        CheckpointError: when there is a checkpoint and `resume` is not set, or it is of another configuration.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "last.ckpt"
    if path.exists() and not resume:
        raise CheckpointError(f"{path} exists: add --resume to go on with it, or give another --output.")
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    faces, validation = load_faces(config.data, directory, on_prepare)
    run = _Run(config, faces, validation)
    if path.exists():
        run.restore(load_checkpoint(path))
    with closing(RunLog(directory, step=run.step, tensorboard=config.training.tensorboard)) as log:
        _loop(run, log, path, on_step)
    return path


def _loop(run: "_Run", log: RunLog, path: Path, on_step: StepCallback | None) -> None:
    options, started, first = run.config.training, time.perf_counter(), run.step
    while run.step < run.steps:
        loss = run.learn()
        rate = (run.step - first) * run.batches.batch / (time.perf_counter() - started)
        if on_step:
            on_step(run.step, run.steps, loss, rate)
        if run.step % LOG_STEPS == 0:
            log.write("step", run.step, loss=round(loss, 5), lr=run.lr, faces_per_s=round(rate, 1))
        if run.step % options.evaluate_steps == 0 or run.step == run.steps:
            run.metrics = run.evaluate()
            log.write("eval", run.step, epoch=round(run.step / run.batches.steps_per_epoch, 3), **run.metrics)
        if run.step % options.checkpoint_steps == 0 or run.step == run.steps:
            save_checkpoint(run.checkpoint(), path)


class _Run:
    """A run's state and its two acts: learn one step, evaluate."""

    def __init__(self, config: Config, faces: Faces, validation: Faces) -> None:
        self.config, self.validation = config, validation
        self.device = pick_device(config.training.device)
        self.batches = Batches(faces, config)
        self.steps = max(1, round(config.training.epochs * self.batches.steps_per_epoch))
        self.step, self.lr, self.metrics = 0, 0.0, {}
        torch.manual_seed(config.training.seed)
        self.model = build_model(config.model, len(faces.names))
        if config.model.pretrained:
            self.model.load_pretrained(Path(config.model.pretrained), self._calibration_faces(faces))
        self.model.to(self.device)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(_parameter_groups(self.model, config))
        self.validation_crops = evaluation_crops(validation, config.data)
        self._use_frozen_layers()

    def _calibration_faces(self, faces: Faces) -> Tensor:
        chosen = np.random.default_rng(self.config.training.seed).permutation(len(faces.rows))[
            :CALIBRATION_FACES
        ]
        config = self.config.data
        crops = [
            faces.store.crop(int(row), size=config.size, template=config.template, margin=config.margin)
            for row in faces.rows[chosen]
        ]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()

    def _use_frozen_layers(self) -> None:
        options = self.config.training
        self.features = self.model.frozen_features
        if self.model.has_frozen_layers:
            self.features = FrozenLayers(self.model, self.config.data.size, self.device, options.threads)

    def learn(self) -> float:
        """One step of the optimiser; returns the loss in nats."""
        options = self.config.training
        self._set_learning_rate()
        torch.manual_seed(options.seed * 1_000_003 + self.step)  # dropout
        images, targets = (tensor.to(self.device) for tensor in self.batches.at(self.step))
        self.model.train()
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=options.amp and self.device.type == "cuda"
        ):
            logits = self.model.from_features(self.features(images))
        loss = label_distribution_loss(logits.float(), targets)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        self.optimizer.step()
        self.step += 1
        self._average()
        return loss.item()

    def _set_learning_rate(self) -> None:
        """Linear warm-up, then a cosine to 0."""
        warmup = min(self.config.training.warmup, self.steps // 2)
        share = (self.step + 1) / (warmup + 1) if self.step < warmup else 1.0
        done = max(0, self.step - warmup) / max(1, self.steps - warmup)
        factor = share * 0.5 * (1 + math.cos(math.pi * done))
        self.lr = self.config.training.lr * factor
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.training.ema, (self.step + 1) / (self.step + 10))
        for average, value in zip(
            self.ema.state_dict().values(), self.model.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The averaged weights on the validation split: loss (nats), accuracy, balanced accuracy, macro F1."""
        self.ema.eval()
        logits = torch.cat(
            [
                self.ema.from_features(self.features(batch.float().to(self.device))).float().cpu()
                for batch in self.validation_crops.split(128)
            ]
        )
        counted = self.validation.labels >= 0
        labels, predictions = self.validation.labels[counted], logits.argmax(1).numpy()
        targets = self.validation.label_distribution[torch.from_numpy(counted)]
        classes = len(self.validation.names)
        return {
            "loss": round(label_distribution_loss(logits, targets).item(), 5),
            "accuracy": round(float(np.mean(labels == predictions)), 5),
            "balanced_accuracy": round(float(metrics.balanced_accuracy(labels, predictions, classes)), 5),
            "macro_f1": round(float(metrics.macro_f1(labels, predictions, classes)), 5),
        }

    def checkpoint(self) -> Checkpoint:
        """The run's state, to be written."""
        return Checkpoint(
            step=self.step,
            config=self.config.to_dict(),
            labels=self.validation.names,
            model=self.model.state_dict(),
            ema=self.ema.state_dict(),
            optimizer=self.optimizer.state_dict(),
            metrics=self.metrics,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same recipe."""
        _check_same_recipe(checkpoint.config, self.config.to_dict())
        if tuple(checkpoint.labels) != self.validation.names:
            raise CheckpointError(
                f"the checkpoint knows the classes {', '.join(checkpoint.labels)}, the data others."
            )
        self.model.load_state_dict(checkpoint.model)
        self.ema.load_state_dict(checkpoint.ema)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step, self.metrics = checkpoint.step, checkpoint.metrics
        self._use_frozen_layers()


FREE_TO_CHANGE = {
    "name",
    "card",
    "data.path",
    "data.store",
    "training.device",
    "training.amp",
    "training.threads",
    "training.checkpoint_steps",
    "training.evaluate_steps",
    "training.tensorboard",
}
"""What a resumed run may be told anew; the last bits of the weights may then differ for device, amp and threads."""


def _check_same_recipe(saved: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> None:
    for key, value in wanted.items():
        name, before = f"{prefix}{key}", saved.get(key)
        if name in FREE_TO_CHANGE:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            _check_same_recipe(before, value, f"{name}.")
        elif before != value:
            raise CheckpointError(
                f"the checkpoint was made with {name}={before}, not {value}. Give the same recipe to resume."
            )


def build_model(config: ModelConfig, classes: int) -> ExpressionNetwork:
    """The network of a recipe, with random weights.

    Raises:
        ConfigError: on an unknown network, or an option that it does not have.
    """
    if config.name not in MODELS:
        raise ConfigError(f"model.name is {config.name!r}; expected one of {', '.join(MODELS)}.")
    network = MODELS[config.name]
    hints = typing.get_type_hints(network.__init__)
    known = {name: hints[name] for name in inspect.signature(network).parameters if name != "classes"}
    return network(classes, **convert_values(known, config.options, "model."))


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, then Apple's MPS, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        here = ", ".join(device for device, is_there in available.items() if is_there)
        raise ConfigError(f"training.device is {name!r}; this machine has: {here}.")
    return torch.device(name)


def _parameter_groups(model: nn.Module, config: Config) -> list[dict]:
    """Weight decay on matrices alone, and a higher rate for the classifier."""
    options = config.training
    groups = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("classifier."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "peak_lr": options.head_lr if is_head else options.lr,
            "weight_decay": options.weight_decay if is_matrix else 0.0,
        }
        for (is_head, is_matrix), parameters in groups.items()
    ]
