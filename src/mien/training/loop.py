"""The training loop."""

import copy
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien import metrics
from mien.errors import CheckpointError
from mien.losses import label_distribution_loss
from mien.progress import Progress
from mien.reports.training import write_run_report
from mien.training.checkpoint import Checkpoint, check_same_recipe, load_checkpoint, save_checkpoint
from mien.training.config import Config
from mien.training.data import Batches, Faces, evaluation_crops, load_faces, read_index
from mien.training.distributed import Group, joined_group
from mien.training.frozen import FrozenLayers
from mien.training.log import NoLog, RunLog
from mien.training.optimizer import set_learning_rate
from mien.training.prefetch import made_ahead, pick_workers
from mien.training.pretrained import build_model, check_start, load_start
from mien.training.sampling import class_shares
from mien.training.step import Learner
from mien.training.targets import Targets

LOG_STEPS = 10
EVALUATION_BATCH = 128
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
    on_left_out: Callable[[str], None] | None = None,
) -> Path:
    """Train as a recipe says; returns the path of the last checkpoint, `directory/last.ckpt`.

    Under `torchrun` every process calls this; they share each batch, and the first one writes the files.

    Args:
        config: the recipe.
        directory: of the run; made when missing. Holds the checkpoint, `log.jsonl`, what `write_run_report` makes and,
            unless the recipe names another place, the prepared faces and what teachers say of them.
        resume: go on from `last.ckpt` where there is one. On the CPU the result is the same, bit for bit.
        on_step: told of every step.
        on_prepare: told while faces are prepared.
        on_teach: told while teachers read them.
        on_left_out: told, where there are any, of the images that cannot be learned from.

    Raises:
        CheckpointError: when there is a checkpoint and `resume` is not set, or it is of another configuration.
        ConfigError: when the recipe asks for what cannot be; see also `load_faces` and `load_start`.
        TrainingError: when the run diverges.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "last.ckpt"
    if path.exists() and not resume:
        raise CheckpointError(f"{path} exists: add --resume to go on with it, or give another --output.")
    if not path.exists():
        check_start(config.model)
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    with joined_group(config.training.device) as group:
        checkpoint = _open_checkpoint(path, config)
        index = read_index(config.data)
        with group.main_first():
            faces, validation = load_faces(index, config.data, directory, on_prepare, on_left_out)
            targets = Targets(faces, config, directory, on_teach)
        batches, data = Batches(faces, config, targets, group), {"name": index.name, "license": index.license}
        run = _Run(config, batches, validation, group, checkpoint, data)
        targets.check_width(run.model.classifier.in_features)
        group.wait()  # until all are ready, as long as that takes
        with closing(_open_log(run, directory)) as log:
            _loop(run, log, path, on_step)
        _report(run, directory)
    return path


def _open_checkpoint(path: Path, config: Config) -> Checkpoint | None:
    """What a resumed run goes on from; what a kill left of the next one goes."""
    for partial in path.parent.glob(f"{path.name}.*.partial"):
        partial.unlink(missing_ok=True)
    if not path.exists():
        return None
    checkpoint = load_checkpoint(path)
    check_same_recipe(checkpoint.config, config)
    return checkpoint


def _open_log(run: "_Run", directory: Path) -> RunLog | NoLog:
    if not run.group.is_main:
        return NoLog()
    return RunLog(directory, step=run.step, tensorboard=run.config.training.tensorboard)


def _report(run: "_Run", directory: Path) -> None:
    """What the run leaves for people; no process ends before it is written."""
    logits = run.read_validation() if run.logits is None else run.logits
    if run.group.is_main:
        names, labels = run.validation.names, run.validation_labels
        write_run_report(directory, names=names, labels=labels, logits=logits.numpy())
    run.group.wait()


def _loop(run: "_Run", log: RunLog | NoLog, path: Path, on_step: StepCallback | None) -> None:
    options, started, first = run.config.training, time.perf_counter(), run.step
    if run.step == 0 and run.start:
        log.write("start", 0, **run.start)
    workers = pick_workers(options.workers, run.group.device)
    with closing(made_ahead(run.batches.at, range(first, run.steps), workers)) as coming:
        for images, wanted in coming:
            loss = run.learn(images, wanted)
            rate = (run.step - first) * run.batches.batch / (time.perf_counter() - started)
            if on_step:
                on_step(run.step, run.steps, loss, rate)
            if run.step % LOG_STEPS == 0:
                log.write("step", run.step, loss=round(loss, 5), lr=run.lr, faces_per_s=round(rate, 1))
            if run.step % options.evaluate_steps == 0 or run.step == run.steps:
                run.metrics = run.evaluate()
                log.write(
                    "eval", run.step, epoch=round(run.step / run.batches.steps_per_epoch, 3), **run.metrics
                )
            if run.group.is_main and (run.step % options.checkpoint_steps == 0 or run.step == run.steps):
                save_checkpoint(run.checkpoint(), path)


class _Run:
    """A run's state and its two acts: learn one step, evaluate.

    Args:
        config: the recipe.
        batches: of the training split.
        validation: the faces to evaluate on.
        group: the processes that share the work.
        checkpoint: of the same recipe, to go on from; None starts.
        data: see `Checkpoint`.
    """

    def __init__(
        self,
        config: Config,
        batches: Batches,
        validation: Faces,
        group: Group,
        checkpoint: Checkpoint | None,
        data: dict[str, str],
    ) -> None:
        self.config, self.batches, self.validation, self.group = config, batches, validation, group
        self.data = data
        self.steps = max(1, round(config.training.epochs * batches.steps_per_epoch))
        self.step, self.lr, self.metrics, self.start = 0, 0.0, {}, {}
        self.logits: Tensor | None = None
        self.validation_labels = validation.labels[validation.labels >= 0]
        share = group.share(len(self.validation_labels))
        self.validation_crops = evaluation_crops(validation, config.data, share)
        torch.manual_seed(config.training.seed)
        self.model = build_model(config.model, len(validation.names))
        if checkpoint is None:
            self.start = load_start(self.model, config, batches.faces)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        if checkpoint is not None:
            self._restore(checkpoint)
        self.model.to(group.device)
        self.ema.to(group.device)
        self.features = self.model.frozen_features
        if self.model.has_frozen_layers:
            self.features = FrozenLayers(self.model, config.data.size, group.device, config.training.threads)
        prior = class_shares(batches.faces.label_distribution, config.data.balance).clamp(min=RAREST)
        self.learner = Learner(self.model, self.features, config, prior.to(group.device), group)
        if checkpoint is not None:
            self.learner.restore(checkpoint)

    def learn(self, images: Tensor, targets: Tensor) -> float:
        """One step of the optimiser, from the batch of this step; returns the loss in nats."""
        options, device = self.config.training, self.group.device
        self.lr = set_learning_rate(self.learner.optimizer, options, self.step, self.steps)
        seed = options.seed * 1_000_003 + self.step
        loss = self.learner.learn(images.to(device), targets.to(device), self.batches.parts, seed)
        self.step += 1
        self._average()
        return loss

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
    def read_validation(self) -> Tensor:
        """Logits (N, C) of the averaged weights for the validation faces that count, on the CPU."""
        self.ema.eval()
        logits = torch.zeros(len(self.validation_labels), len(self.validation.names))
        own = logits[self.group.share(len(logits))]
        for crops, place in zip(
            self.validation_crops.split(EVALUATION_BATCH), own.split(EVALUATION_BATCH), strict=True
        ):
            place.copy_(self.ema.from_features(self.features(crops.float().to(self.group.device))))
        return self.group.sum(logits)

    def evaluate(self) -> dict[str, float]:
        """The averaged weights on the validation split: loss (nats), accuracy, balanced accuracy, macro F1."""
        logits = self.logits = self.read_validation()
        labels, predictions = self.validation_labels, logits.argmax(1).numpy()
        targets = self.validation.label_distribution[torch.from_numpy(self.validation.labels >= 0)]
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
            optimizer=self.learner.optimizer.state_dict(),
            metrics=self.metrics,
            scaler=self.learner.scaler.state_dict(),
            data=self.data,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same recipe."""
        if tuple(checkpoint.labels) != self.validation.names:
            raise CheckpointError(
                f"the checkpoint knows the classes {', '.join(checkpoint.labels)}, the data others."
            )
        try:
            self.model.load_state_dict(checkpoint.model)
            self.ema.load_state_dict(checkpoint.ema)
        except RuntimeError:
            raise CheckpointError(
                "the checkpoint's network has other layers than this version's: go on with the version that made it."
            ) from None
        self.step, self.metrics = checkpoint.step, checkpoint.metrics
