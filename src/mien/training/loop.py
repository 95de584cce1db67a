"""Training loop."""

import copy
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien import metrics
from mien.datasets import Index
from mien.errors import CheckpointError, ConfigError, TrainingError
from mien.losses import label_distribution_loss
from mien.models import build_model
from mien.progress import Progress
from mien.reports.training import write_run_report
from mien.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    check_same_recipe,
    load_checkpoint,
    save_checkpoint,
    saved_config,
)
from mien.training.classes import check_classes
from mien.training.config import Config
from mien.training.data import Batches, Faces, evaluation_crops, hash_samples, load_faces, read_index
from mien.training.distributed import ProcessGroup, process_group
from mien.training.frozen import FrozenLayers
from mien.training.interruption import DelayedInterruption
from mien.training.log import NullLog, RunLog
from mien.training.optimizer import set_learning_rate
from mien.training.prefetch import pick_workers, prefetch
from mien.training.pretrained import check_model, load_pretrained
from mien.training.sampling import class_prior
from mien.training.sources import check_same_teachers, hash_teachers, run_sources
from mien.training.step import DIVERGED, TrainStep
from mien.training.targets import Targets, describe_unused_teachers

LOG_STEPS = 10
"""Steps between log records."""
EVALUATION_BATCH = 128
"""Faces per forward pass in evaluation."""
MIN_PART = 2
"""Minimum faces of a part of a batch: batch norm has no variance of a single face."""
SEEDS = 2**64
"""Number of seeds that torch accepts."""
MIN_PRIOR = 1e-4
"""Minimum class prior in logit adjustment; the logarithm of a class without faces would be infinite."""
MAX_LEFT_OUT = 0.1
"""Largest share of the training faces that an epoch leaves out without a message."""

StepCallback = Callable[[int, int, float, float], None]
"""Function that is called after every step with: completed steps, all steps, loss, faces per second."""
EvaluationCallback = Callable[[int, int, dict[str, float]], None]
"""Function that is called after every evaluation with: completed steps, all steps, and the values of the log's record:
epoch, loss, accuracy, balanced_accuracy, macro_f1, and is_best, whether `best.ckpt` is of this step."""


def train(
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    on_step: StepCallback | None = None,
    on_prepare: Progress | None = None,
    on_teacher: Progress | None = None,
    on_evaluate: EvaluationCallback | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Path:
    """Train a recipe and return the path of the last checkpoint, `directory/last.ckpt`.

    A stop signal (Ctrl-C, SIGTERM) takes effect after the current step and a checkpoint; a second one at once.

    Under `torchrun` every process calls this function; processes share each batch, and the first one writes the files.

    Args:
        config: the recipe.
        directory: folder of the run, created if missing. Contains the checkpoints `LAST` and `BEST`, `log.jsonl`, the
            files of `write_run_report` and, if the recipe names no other folder, prepared faces and outputs of
            teachers.
        resume: continue from `last.ckpt` if it exists. On the CPU the result is bit-identical to an uninterrupted run.
        on_step: called after every step.
        on_prepare: called with the number of prepared faces.
        on_teacher: called with the number of predicted faces of a teacher.
        on_evaluate: called after every evaluation.
        on_message: called with each message for the user: counts of the classes, unusable images, interruption.

    Raises:
        CheckpointError: if there is a checkpoint and `resume` is false, or it is of another recipe or other data.
        ConfigError: if the recipe cannot be trained; see also `load_faces` and `load_pretrained`.
        TrainingError: if the run diverges.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LAST
    saved = next((file for file in (path, directory / BEST) if file.exists()), None)
    if saved and not resume:
        raise CheckpointError(f"{saved} exists: add --resume to continue it, or choose another --output.")
    if not saved:
        check_model(config.model, config.data.size)
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    with process_group(config.training.device) as group:
        checkpoint = _open_checkpoint(directory, saved, config)
        index = read_index(config.data)
        # errors of the recipe are reported before faces are detected and teachers predict
        run_sources(config, index, [], checkpoint)
        with group.main_first():
            faces, validation = load_faces(index, config.data, directory, on_prepare, on_message)
            check_classes(faces, validation, on_message)
            targets = Targets(faces, config, directory, on_teacher)
        batches = Batches(faces, config, targets, group)
        _report_left_out(batches, on_message)
        for message in describe_unused_teachers(config.target):
            _send(on_message, message)
        run = _Run(config, batches, validation, group, checkpoint, index)
        run.best = _best_metrics(directory, config)
        if checkpoint is not None and group.is_main:
            _update_origins(run, directory)
        targets.check_width(run.model.classifier.in_features)
        group.barrier()  # with its long timeout; the first all-reduce has a short one
        tensorboard = config.training.tensorboard
        log = RunLog(directory, step=run.step, tensorboard=tensorboard) if group.is_main else NullLog()
        interruption = DelayedInterruption(lambda: _send(on_message, "stopping after this step; again: stop at once"))
        with closing(log), interruption:
            _loop(run, log, directory, interruption, on_step, on_evaluate)
        if run.step < run.steps:
            _send(on_message, f"interrupted after step {run.step} of {run.steps}: add --resume to continue from {path}")
            interruption.deliver()
        logits = run.predict_validation() if run.logits is None else run.logits
        if group.is_main:
            write_run_report(directory, names=validation.names, labels=run.validation_labels, logits=logits.numpy())
        group.barrier()
    return path


def _send(on_message: Callable[[str], None] | None, message: str) -> None:
    if on_message:
        on_message(message)


def _report_left_out(batches: Batches, on_message: Callable[[str], None] | None) -> None:
    if batches.config.data.balance > 0:
        # faces are drawn with replacement
        return
    total = len(batches.faces.rows)
    used = batches.steps_per_epoch * batches.batch
    if total - used > MAX_LEFT_OUT * total:
        _send(
            on_message,
            f"an epoch uses {used:,} of {total:,} training faces, as the others do not fill a batch of "
            f"{batches.batch}: lower training.batch to use more",
        )


def _open_checkpoint(directory: Path, path: Path | None, config: Config) -> Checkpoint | None:
    """Load the checkpoint to resume from, if any, and delete partial files of a killed run."""
    for partial in directory.glob("*.ckpt.*.partial"):
        partial.unlink(missing_ok=True)
    if path is None:
        return None
    checkpoint = load_checkpoint(path)
    saved_config(checkpoint, path)
    check_same_recipe(checkpoint.config, config)
    check_same_teachers(checkpoint, config)
    return checkpoint


def _best_metrics(directory: Path, config: Config) -> dict[str, float]:
    """Return the metrics of the best checkpoint so far; empty if there is none, or one of another recipe."""
    path = directory / BEST
    if not path.exists():
        return {}
    checkpoint = load_checkpoint(path)
    check_same_recipe(checkpoint.config, config)
    return checkpoint.metrics


def _update_origins(run: "_Run", directory: Path) -> None:
    """Write recipe, data license and sources of a resumed run to its checkpoints, where they have changed."""
    origin = {"config": run.config.to_dict(), "data": run.data, "trained_on": run.trained_on}
    for path in (directory / LAST, directory / BEST):
        if path.exists():
            checkpoint = load_checkpoint(path)
            if any(getattr(checkpoint, name) != value for name, value in origin.items()):
                save_checkpoint(replace(checkpoint, **origin), path)


def _loop(
    run: "_Run",
    log: RunLog | NullLog,
    directory: Path,
    interruption: DelayedInterruption,
    on_step: StepCallback | None,
    on_evaluate: EvaluationCallback | None,
) -> None:
    """Train until the last step, or until an interruption; in both cases the last checkpoint is of that step."""
    options = run.config.training
    interval = options.evaluate_steps or run.batches.steps_per_epoch
    started = time.perf_counter()
    first = run.step
    if run.step == 0 and run.pretrained:
        log.write("start", 0, **run.pretrained)
    workers = pick_workers(options.workers, run.group.device)
    with closing(prefetch(run.batches.at, range(first, run.steps), workers)) as batches:
        for images, targets in batches:
            loss = run.train_step(images, targets)
            rate = (run.step - first) * run.batches.batch / (time.perf_counter() - started)
            is_last = run.step == run.steps
            if on_step:
                on_step(run.step, run.steps, loss, rate)
            if run.step % LOG_STEPS == 0:
                log.write("step", run.step, loss=round(loss, 5), lr=run.lr, faces_per_s=round(rate, 1))
            is_best = False
            if run.step % interval == 0 or is_last:
                run.metrics = run.evaluate()
                is_best = run.update_best()
                epoch = round(run.step / run.batches.steps_per_epoch, 3)
                record = {"epoch": epoch, **run.metrics, "is_best": is_best}
                log.write("eval", run.step, **record)
                if on_evaluate:
                    on_evaluate(run.step, run.steps, record)
            is_stopped = run.group.any(bool(interruption.signal))
            if run.group.is_main and (run.step % options.checkpoint_steps == 0 or is_best or is_last or is_stopped):
                checkpoint = run.checkpoint()
                if is_best:
                    save_checkpoint(checkpoint, directory / BEST)
                save_checkpoint(checkpoint, directory / LAST)
            if is_stopped:
                return


class _Run:
    """State of a run, new or from a checkpoint of the same recipe; trains one step, evaluates."""

    def __init__(
        self,
        config: Config,
        batches: Batches,
        validation: Faces,
        group: ProcessGroup,
        checkpoint: Checkpoint | None,
        index: Index,
    ) -> None:
        if batches.batch < MIN_PART * config.training.accumulate:
            raise ConfigError(
                f"a batch of {batches.batch} faces in {config.training.accumulate} parts is too small: batch norm "
                f"needs {MIN_PART} faces in each. Raise training.batch, or lower training.accumulate."
            )
        self.config = config
        self.data = {"name": index.name, "license": config.data.license or index.license}
        self.best: dict[str, float] = {}
        self.batches = batches
        self.validation = validation
        self.group = group
        self.steps = max(1, round(config.training.epochs * batches.steps_per_epoch))
        self.step = 0
        self.lr = 0.0
        self.metrics: dict[str, float] = {}
        self.pretrained: dict[str, int] = {}
        self.logits: Tensor | None = None
        self.validation_labels = validation.labels[validation.labels >= 0]
        rows = validation.rows[validation.labels >= 0][group.own_slice(len(self.validation_labels))]
        self.validation_crops = evaluation_crops(validation.store, rows, config.data)
        torch.manual_seed(config.training.seed % SEEDS)
        self.model = build_model(
            config.model.name, len(validation.names), config.model.options, affect=config.target.valence_arousal > 0
        )
        if checkpoint is None:
            self.pretrained = load_pretrained(self.model, config, batches.faces)
        self.samples = hash_samples(index, np.concatenate([batches.faces.rows, validation.rows]).tolist())
        self.teachers = hash_teachers(config)
        self.trained_on = tuple(run_sources(config, index, batches.faces.rows.tolist(), checkpoint))
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        if checkpoint is not None:
            self._restore(checkpoint)
        layout = torch.channels_last if config.training.channels_last else torch.preserve_format
        for network in (self.model, self.ema):
            network.to(group.device, memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.features = self.model.frozen_features
        if self.model.has_frozen_layers:
            self.features = FrozenLayers(self.model, config.data.size, group.device, config.training.threads)
        prior = class_prior(batches.faces.label_distribution, config.data.balance).clamp(min=MIN_PRIOR)
        self.update = TrainStep(self.model, self.features, config, prior.to(group.device), group)
        if checkpoint is not None:
            self.update.restore(checkpoint)

    def train_step(self, images: Tensor, targets: Tensor) -> float:
        """Train one step on its batch; return the loss in nats."""
        options, device = self.config.training, self.group.device
        self.lr = set_learning_rate(self.update.optimizer, options, self.step, self.steps)
        seed = (options.seed * 1_000_003 + self.step) % SEEDS
        loss = self.update(images.to(device), targets.to(device), self.batches.shards, seed)
        self.step += 1
        self._update_average()
        return loss

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.training.ema, (self.step + 1) / (self.step + 10))
        for average, value in zip(self.ema.state_dict().values(), self.model.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    @torch.no_grad()
    def predict_validation(self) -> Tensor:
        """Return logits (N, C) of the averaged weights for validation faces with a label, on the CPU."""
        self.ema.eval()
        logits = torch.zeros(len(self.validation_labels), len(self.validation.names))
        own = logits[self.group.own_slice(len(logits))]
        for crops, rows in zip(self.validation_crops.split(EVALUATION_BATCH), own.split(EVALUATION_BATCH), strict=True):
            features = self.features(crops.float().to(self.group.device))
            rows.copy_(self.ema.forward_trainable(features).logits)
        return self.group.all_reduce(logits)

    def evaluate(self) -> dict[str, float]:
        """Evaluate the averaged weights on the validation split: loss (nats), accuracy, balanced accuracy, macro F1.

        Raises:
            TrainingError: if the loss is not finite.
        """
        logits = self.logits = self.predict_validation()
        labels, predictions = self.validation_labels, logits.argmax(1).numpy()
        targets = self.validation.label_distribution[torch.from_numpy(self.validation.labels >= 0)]
        classes = len(self.validation.names)
        loss = label_distribution_loss(logits, targets).item()
        if not math.isfinite(loss):
            raise TrainingError(f"the validation loss is {loss}{DIVERGED}")
        return {
            "loss": round(loss, 5),
            "accuracy": round(float(np.mean(labels == predictions)), 5),
            "balanced_accuracy": round(float(metrics.balanced_accuracy(labels, predictions, classes)), 5),
            "macro_f1": round(float(metrics.macro_f1(labels, predictions, classes)), 5),
        }

    def update_best(self) -> bool:
        """Return whether the current metrics are better than all earlier ones, and keep them if so."""
        is_best = not self.best or self._rank(self.metrics) > self._rank(self.best)
        if is_best:
            self.best = self.metrics
        return is_best

    def _rank(self, metrics: dict[str, float]) -> tuple[float, float]:
        name = self.config.training.best_metric
        return -metrics[name] if name == "loss" else metrics[name], -metrics["loss"]

    def checkpoint(self) -> Checkpoint:
        """Return the state of the run."""
        return Checkpoint(
            step=self.step,
            config=self.config.to_dict(),
            labels=self.validation.names,
            model=self.model.state_dict(),
            ema=self.ema.state_dict(),
            optimizer=self.update.optimizer.state_dict(),
            metrics=self.metrics,
            scaler=self.update.scaler.state_dict(),
            data=self.data,
            samples=self.samples,
            teachers=self.teachers,
            trained_on=self.trained_on,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Load weights, step and metrics from a checkpoint."""
        if tuple(checkpoint.labels) != self.validation.names:
            raise CheckpointError(
                f"the checkpoint has the classes {', '.join(checkpoint.labels)}, the data "
                f"{', '.join(self.validation.names)}."
            )
        if checkpoint.samples not in ("", self.samples):
            raise CheckpointError(
                "the training or validation images, or their labels, differ from those of the checkpoint. Restore the "
                "data to resume, or start a new run."
            )
        try:
            self.model.load_state_dict(checkpoint.model)
            self.ema.load_state_dict(checkpoint.ema)
        except RuntimeError:
            raise CheckpointError(
                "the checkpoint's network has other layers than this version's: resume with the version that wrote it."
            ) from None
        self.step = checkpoint.step
        self.metrics = checkpoint.metrics
