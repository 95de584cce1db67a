"""What the network is asked to say of each training face: votes, the likeliest class, and what teachers say.

Source:
    Label distribution training: Zhao, Liu, Zhou (AAAI 2021), "Robust lightweight facial expression recognition network
    with label distribution training", section 3.3.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from mien.atomic import open_atomic
from mien.errors import ConfigError, DatasetError
from mien.inference.classifier import ExpressionClassifier
from mien.progress import Progress
from mien.training.config import Config, DataConfig
from mien.training.data import Faces

CHUNK = 256
"""Faces that are cut and read between two reports of progress."""


class Targets:
    """Target distributions of training faces, mixed as a `TargetConfig` says.

    Args:
        faces: of the training split.
        config: the recipe.
        directory: of the run; the teachers' readings are kept here, unless the recipe names another folder.
        progress: told of the faces that a teacher has read.

    Raises:
        ConfigError: when a teacher knows other classes than the data, or reads crops that are framed otherwise.
        ModelError: when a teacher cannot be loaded.
    """

    def __init__(
        self, faces: Faces, config: Config, directory: Path, progress: Progress | None = None
    ) -> None:
        options = config.target
        total = options.votes + options.teacher + options.hard
        kept = 1 - options.smoothing
        self.temperature, self.teacher_weight = options.temperature, kept * options.teacher / total
        classes = len(faces.names)
        one_hot = F.one_hot(faces.label_distribution.argmax(1), classes).float()
        mixed = (options.votes * faces.label_distribution + options.hard * one_hot) / total
        self._fixed = kept * mixed + options.smoothing / classes
        folder = Path(options.store or directory)
        self._live: list[Teacher] = []
        if options.teacher > 0:
            teachers = [
                Teacher(model, faces.names, flip_tta=options.flip_tta, threads=config.training.threads)
                for model in options.teachers
            ]
            if options.cache:
                readings = [cached_readings(teacher, faces, folder, progress) for teacher in teachers]
                self._fixed += self.teacher_weight * self._mean(readings)
            else:
                for teacher in teachers:
                    teacher.check_framing(config.data)
                self._live = teachers
        self._embeddings: Tensor | None = None
        if options.embedding > 0:
            embedder = Embedder(
                options.embedder, faces.names, flip_tta=options.flip_tta, threads=config.training.threads
            )
            self._embeddings = _unit_variance(cached_readings(embedder, faces, folder, progress))

    def __call__(
        self, places: Int[Tensor, " batch"], crops: Float[Tensor, "batch 3 size size"]
    ) -> Float[Tensor, "batch wanted"]:
        """Targets of the faces at these places of the split; `crops` (0..255) are what the network sees of them.

        The first columns are a distribution over the classes; where features are to be imitated, the embedding follows.
        """
        targets = self._fixed[places]
        if self._live:
            readings = [teacher.read_varied(crops) for teacher in self._live]
            targets = targets + self.teacher_weight * self._mean(readings)
        if self._embeddings is not None:
            targets = torch.cat([targets, self._embeddings[places]], dim=1)
        return targets

    def check_width(self, width: int) -> None:
        """Refuse features to imitate that are not as many as the network's, `width`.

        Raises:
            ConfigError: when they are not.
        """
        if self._embeddings is not None and self._embeddings.shape[1] != width:
            raise ConfigError(
                f"target.embedder gives {self._embeddings.shape[1]} features of a face, the network has {width}. Name "
                "an embedder with as many, or set target.embedding=0."
            )

    def _mean(self, readings: list[Float[Tensor, "batch classes"]]) -> Float[Tensor, "batch classes"]:
        """The teachers' probabilities at the temperature, averaged."""
        return torch.stack([(logits / self.temperature).softmax(1) for logits in readings]).mean(0)


class Teacher:
    """A trained model that reads faces for another one.

    Args:
        model: an `.onnx` file with its manifest, or the name of a shipped model.
        names: the classes that are wanted, in order; it may know more.
        flip_tta: average with the mirror image.
        threads: of ONNX Runtime; 0 lets it choose.
    """

    kind = "teacher"
    """What the files of its readings are called."""

    def __init__(self, model: str, names: tuple[str, ...], *, flip_tta: bool, threads: int) -> None:
        self.model, self.flip_tta = model, flip_tta
        self.classifier = ExpressionClassifier(model, threads)
        known = self.classifier.manifest.labels
        if not set(names) <= set(known):
            raise ConfigError(
                f"the teacher {model} knows {', '.join(known)}; the data have {', '.join(names)}. "
                "A teacher has to know every class of the data."
            )
        self.columns = [known.index(name) for name in names]

    def read_plain(self, faces: Faces, rows: np.ndarray) -> Float[Tensor, "faces columns"]:
        """What it makes of faces as they are, cut as it wants them: its logits."""
        size, alignment = self.classifier.manifest.input.size, self.classifier.manifest.alignment
        assert alignment is not None  # a classifier has one
        crops = [
            faces.store.crop(int(row), size=size, template=alignment.template, margin=alignment.margin)
            for row in rows
        ]
        return self._read(np.stack(crops))

    def read_varied(self, crops: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch classes"]:
        """Logits of training crops (0..255), brought to this teacher's size."""
        size = self.classifier.manifest.input.size
        if crops.shape[-1] != size:
            crops = F.interpolate(crops, size=(size, size), mode="bilinear", antialias=True)
        return self._read(crops.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())

    def check_framing(self, data: DataConfig) -> None:
        """Refuse crops that show another part of the face than this teacher knows."""
        alignment = self.classifier.manifest.alignment
        assert alignment is not None  # a classifier has one
        if (alignment.template, alignment.margin) != (data.template, data.margin):
            raise ConfigError(
                f"the teacher {self.model} wants crops of template {alignment.template}, margin "
                f"{alignment.margin}; data has {data.template}, {data.margin}. Set target.cache = true."
            )

    def _read(self, crops: np.ndarray) -> Float[Tensor, "faces classes"]:
        """Logits of (N, S, S, 3) uint8; the classes that are not wanted fall away."""
        return torch.from_numpy(self.classifier.logits(crops, flip_tta=self.flip_tta)[:, self.columns])


class Embedder(Teacher):
    """A trained model whose pooled features another one imitates; takes what a `Teacher` takes."""

    kind = "embedding"

    def _read(self, crops: np.ndarray) -> Float[Tensor, "faces channels"]:
        return torch.from_numpy(self.classifier.embeddings(crops, flip_tta=self.flip_tta))


def _unit_variance(embeddings: Float[Tensor, "faces channels"]) -> Float[Tensor, "faces channels"]:
    """Embeddings divided by one number, so that they vary by 1 from face to face, the mean over channels."""
    return embeddings / embeddings.var(dim=0).mean().sqrt()


def cached_readings(
    teacher: Teacher, faces: Faces, folder: Path, progress: Progress | None = None
) -> Float[Tensor, "faces columns"]:
    """What a teacher makes of the plain faces: from the folder, or read now and kept there.

    Raises:
        DatasetError: when the file in the folder is broken.
    """
    path = folder / f"{teacher.kind}-{_fingerprint(teacher, faces)}.npy"
    if path.is_file():
        try:
            return torch.from_numpy(np.load(path))
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path} is broken ({error}). Remove it; it will be made again.") from None
    parts, count = [], len(faces.rows)
    for start in range(0, count, CHUNK):
        parts.append(teacher.read_plain(faces, faces.rows[start : start + CHUNK]))
        if progress:
            progress(min(start + CHUNK, count), count)
    readings = torch.cat(parts)
    folder.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as file:
        np.save(file, readings.numpy())
    return readings


def _fingerprint(teacher: Teacher, faces: Faces) -> str:
    """Of the model, of how it reads, and of every pixel and landmark that it reads."""
    manifest = teacher.classifier.manifest
    told = (manifest.sha256, manifest.input.size, manifest.alignment, teacher.flip_tta, teacher.columns)
    return hashlib.sha256(f"{told!r}{faces.fingerprint}".encode()).hexdigest()[:16]
