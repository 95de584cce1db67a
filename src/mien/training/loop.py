"""The training loop."""

import copy
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mien import metrics
from mien.datasets.check import Progress
from mien.errors import CheckpointError
from mien.losses import adjust_logits, label_distribution_loss
from mien.training.checkpoint import Checkpoint, check_same_recipe, load_checkpoint, save_checkpoint
from mien.training.config import Config
from mien.training.data import Batches, Faces, evaluation_crops, load_faces
from mien.training.frozen import FrozenLayers
from mien.training.log import RunLog
from mien.training.optimizer import build_optimizer, set_learning_rate
from mien.training.start import build_model, load_start, pick_device
from mien.training.targets import Targets

LOG_STEPS = 10
RAREST = 1e-4
"""Least share of a class when logits are adjusted: one without a single face would ask for infinite logits."""

StepCallback = Callable[[int, int, float, float], None]
"""Called after every step with: steps done, all steps, loss, faces a second."""


def train(
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    on_step: StepCallback | None = None,
    on_prepare: Progress | None = None,
    on_teach: Progress | None = None,
) -> Path:
    """Train as a recipe says; returns the path of the last checkpoint, `directory/last.ckpt`.

    Args:
        config: the recipe.
        directory: of the run; made when missing. Holds the checkpoint, `log.jsonl` and, unless the recipe names another
            place, the prepared faces and what teachers say of them.
        resume: go on from `last.ckpt` where there is one. On the CPU the result is the same, bit for bit.
        on_step: told of every step.
        on_prepare: told while faces are prepared.
        on_teach: told while teachers read them.

    Raises:
        CheckpointError: when there is a checkpoint and `resume` is not set, or it is of another configuration.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "last.ckpt"
    if path.exists() and not resume:
        raise CheckpointError(f"{path} exists: add --resume to go on with it, or give another --output.")
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    faces, validation = load_faces(config.data, directory, on_prepare)
    targets = Targets(faces, config, directory, on_teach)
    run = _Run(config, Batches(faces, config, targets), validation)
    if path.exists():
        run.restore(load_checkpoint(path))
    with closing(RunLog(directory, step=run.step, tensorboard=config.training.tensorboard)) as log:
        _loop(run, log, path, on_step)
    return path


def _loop(run: "_Run", log: RunLog, path: Path, on_step: StepCallback | None) -> None:
    options, started, first = run.config.training, time.perf_counter(), run.step
    if run.step == 0 and run.start:
        log.write("start", 0, **run.start)
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

    def __init__(self, config: Config, batches: Batches, validation: Faces) -> None:
        self.config, self.batches, self.validation = config, batches, validation
        self.device = pick_device(config.training.device)
        self.steps = max(1, round(config.training.epochs * batches.steps_per_epoch))
        self.step, self.lr, self.metrics = 0, 0.0, {}
        torch.manual_seed(config.training.seed)
        self.model = build_model(config.model, len(validation.names))
        self.start = load_start(self.model, config, batches.faces)
        self.model.to(self.device)
        self.prior = batches.faces.label_distribution.mean(0).clamp(min=RAREST).to(self.device)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = build_optimizer(self.model, config)
        self.validation_crops = evaluation_crops(validation, config.data)
        self._use_frozen_layers()

    def _use_frozen_layers(self) -> None:
        options = self.config.training
        self.features = self.model.frozen_features
        if self.model.has_frozen_layers:
            self.features = FrozenLayers(self.model, self.config.data.size, self.device, options.threads)

    def learn(self) -> float:
        """One step of the optimiser; returns the loss in nats."""
        options = self.config.training
        self.lr = set_learning_rate(self.optimizer, options, self.step, self.steps)
        torch.manual_seed(options.seed * 1_000_003 + self.step)  # dropout
        images, targets = (tensor.to(self.device) for tensor in self.batches.at(self.step))
        self.model.train()
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=options.amp and self.device.type == "cuda"
        ):
            logits = self.model.from_features(self.features(images))
        adjusted = adjust_logits(logits.float(), self.prior, options.logit_adjustment)
        loss = label_distribution_loss(adjusted, targets)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        self.optimizer.step()
        self.step += 1
        self._average()
        return loss.item()

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
        check_same_recipe(checkpoint.config, self.config)
        if tuple(checkpoint.labels) != self.validation.names:
            raise CheckpointError(
                f"the checkpoint knows the classes {', '.join(checkpoint.labels)}, the data others."
            )
        self.model.load_state_dict(checkpoint.model)
        self.ema.load_state_dict(checkpoint.ema)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        self.step, self.metrics = checkpoint.step, checkpoint.metrics
        self._use_frozen_layers()
