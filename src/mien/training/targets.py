"""Training targets: a mixture of votes, one-hot labels and predictions of teachers.

Source:
    Label distribution training: Zhao, Liu, Zhou (AAAI 2021), "Robust lightweight facial expression recognition network
    with label distribution training", section 3.3.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from mien.errors import ConfigError
from mien.progress import Progress
from mien.training.config import Config, TargetConfig
from mien.training.data import Faces
from mien.training.teachers import FeatureTeacher, Teacher, cached_outputs


def describe_unused_teachers(config: TargetConfig) -> list[str]:
    """Return a message for each kind of teacher that a recipe names and that has no effect, as its weight is 0."""
    messages = []
    if config.teachers and not config.teacher:
        messages.append("target.teachers have no effect: their weight target.teacher is 0")
    if config.feature_teacher and not config.feature_distillation:
        messages.append("target.feature_teacher has no effect: its weight target.feature_distillation is 0")
    return messages


class Targets:
    """Callable that returns the targets of training faces, as configured by `TargetConfig`.

    Args:
        faces: faces of the training split.
        config: the recipe.
        directory: folder of the run; teachers' outputs are cached here if the recipe names no other folder.
        progress: called with the number of faces that a teacher has predicted.

    Raises:
        ConfigError: if a teacher lacks a class of the data, or expects crops of another alignment.
        ModelError: if a teacher cannot be loaded.
    """

    def __init__(self, faces: Faces, config: Config, directory: Path, progress: Progress | None = None) -> None:
        options = config.target
        total = options.votes + options.teacher + options.hard
        unsmoothed = 1 - options.smoothing
        self.temperature = options.temperature
        self.teacher_weight = unsmoothed * options.teacher / total
        classes = len(faces.names)
        one_hot = F.one_hot(faces.label_distribution.argmax(1), classes).float()
        mixture = (options.votes * faces.label_distribution + options.hard * one_hot) / total
        self._fixed = unsmoothed * mixture + options.smoothing / classes
        folder = Path(options.store or directory)
        threads = config.training.threads
        self._live: list[Teacher] = []
        feature_teacher = None
        if options.feature_distillation > 0:
            # its classes do not matter
            feature_teacher = FeatureTeacher(options.feature_teacher, (), flip_tta=options.flip_tta, threads=threads)
        if options.teacher > 0:
            teachers = [
                Teacher(model, faces.names, flip_tta=options.flip_tta, threads=threads) for model in options.teachers
            ]
            if options.cache:
                outputs = []
                for teacher in teachers:
                    same = [feature_teacher] if feature_teacher and feature_teacher.model == teacher.model else []
                    outputs.append(cached_outputs([teacher, *same], faces, folder, progress)[0])
                self._fixed += self.teacher_weight * self._average(outputs)
            else:
                for teacher in teachers:
                    teacher.check_alignment(config.data)
                self._live = teachers
        self._valence_arousal = _check_affect(faces) if options.valence_arousal > 0 else None
        self._features: Tensor | None = None
        if feature_teacher:
            self._features = _unit_variance(cached_outputs([feature_teacher], faces, folder, progress)[0])

    def __call__(
        self, indices: Int[Tensor, " batch"], crops: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch columns"]:
        """Return the targets of faces of the split, given their augmented crops (0..255).

        The first columns are the class distribution, followed by valence and arousal if the network has a head for
        them, and by the teacher's features for feature distillation.
        """
        targets = self._fixed[indices]
        if self._live:
            outputs = [teacher.predict_crops(crops) for teacher in self._live]
            targets = targets + self.teacher_weight * self._average(outputs)
        if self._valence_arousal is not None:
            targets = torch.cat([targets, self._valence_arousal[indices]], dim=1)
        if self._features is not None:
            targets = torch.cat([targets, self._features[indices]], dim=1)
        return targets

    def check_width(self, width: int) -> None:
        """Check that the feature teacher does not have more features than the network.

        Args:
            width: number of pooled features of the network.

        Raises:
            ConfigError: if it has more.
        """
        if self._features is not None and self._features.shape[1] > width:
            raise ConfigError(
                f"target.feature_teacher has {self._features.shape[1]} features per face, the network only {width}. "
                "Choose a teacher with at most as many, or set target.feature_distillation=0."
            )

    def _average(self, outputs: list[Float[Tensor, "batch classes"]]) -> Float[Tensor, "batch classes"]:
        """Return the mean of the teachers' probabilities at the temperature."""
        return torch.stack([(logits / self.temperature).softmax(1) for logits in outputs]).mean(0)


def _check_affect(faces: Faces) -> Float[Tensor, "faces 2"]:
    """Return valence and arousal of the faces; raise `ConfigError` if none has them."""
    if not faces.valence_arousal.isfinite().any():
        raise ConfigError(
            "target.valence_arousal is above 0, but no training face has valence and arousal; set it to 0, or train on "
            "AffectNet."
        )
    return faces.valence_arousal


def _unit_variance(features: Float[Tensor, "faces channels"]) -> Float[Tensor, "faces channels"]:
    """Scale features by one factor so that their variance over faces, averaged over channels, is 1."""
    return features / features.var(dim=0).mean().sqrt()
