"""Teachers: exported models that predict the training faces, and the cache of their outputs."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mien.atomic import open_atomic
from mien.errors import ConfigError, DatasetError
from mien.inference.classifier import ExpressionClassifier
from mien.progress import Progress
from mien.training.config import DataConfig
from mien.training.data import Faces

CHUNK = 256
"""Faces that are predicted between two reports of progress."""


class Teacher:
    """An exported model with outputs that serve as targets: logits of the classes of the data.

    Args:
        model: an `.onnx` file with its manifest, or the name of a shipped model.
        names: classes of the data, in order; the model may have more. Empty for a teacher of features.
        flip_tta: average the outputs for a face and its mirror image.
        threads: threads of ONNX Runtime; 0 uses its default.

    Raises:
        ConfigError: if the model lacks a class.
        ModelError: if the model cannot be loaded.
    """

    cache_prefix = "teacher"
    """Start of the file name of cached outputs."""

    def __init__(self, model: str, names: tuple[str, ...], *, flip_tta: bool, threads: int) -> None:
        self.model = model
        self.flip_tta = flip_tta
        self.classifier = ExpressionClassifier(model, threads, precision="float32", device="cpu")
        labels = self.classifier.manifest.labels
        if not set(names) <= set(labels):
            raise ConfigError(
                f"the teacher {model} has the classes {', '.join(labels)}; the data have {', '.join(names)}. "
                "A teacher needs every class of the data."
            )
        self.columns = [labels.index(name) for name in names]
        alignment = self.classifier.manifest.alignment
        assert alignment is not None  # required in the manifest of an expression model
        self.alignment = alignment

    def crop_faces(self, faces: Faces, rows: np.ndarray) -> np.ndarray:
        """Return the crops (N, S, S, 3) uint8 of plain faces, with the model's own alignment."""
        size = self.classifier.manifest.input.size
        crops = [
            faces.store.crop(int(row), size=size, template=self.alignment.template, margin=self.alignment.margin)
            for row in rows
        ]
        return np.stack(crops)

    def predict_crops(self, crops: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch columns"]:
        """Return the outputs for training crops (0..255), resized to the model's input."""
        size = self.classifier.manifest.input.size
        if crops.shape[-1] != size:
            crops = F.interpolate(crops, size=(size, size), mode="bilinear", antialias=True)
        pixels = crops.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
        return self.select(self.classifier.logits(pixels, flip_tta=self.flip_tta))

    def check_alignment(self, data: DataConfig) -> None:
        """Check that training crops are aligned as the model expects.

        Raises:
            ConfigError: if template or margin differ.
        """
        if (self.alignment.template, self.alignment.margin) != (data.template, data.margin):
            raise ConfigError(
                f"the teacher {self.model} expects crops of template {self.alignment.template}, margin "
                f"{self.alignment.margin}; data has {data.template}, {data.margin}. Set target.cache = true."
            )

    def select(self, logits: np.ndarray, embeddings: np.ndarray | None = None) -> Float[Tensor, "faces columns"]:
        """Return the outputs that serve as targets: the logits of the classes of the data."""
        return torch.from_numpy(logits[:, self.columns])


class FeatureTeacher(Teacher):
    """An exported model with pooled features that serve as targets; for arguments see `Teacher`."""

    cache_prefix = "embedding"

    def select(self, logits: np.ndarray, embeddings: np.ndarray | None = None) -> Float[Tensor, "faces columns"]:
        """Return the embeddings."""
        assert embeddings is not None
        return torch.from_numpy(embeddings)


def cached_outputs(
    teachers: Sequence[Teacher], faces: Faces, folder: Path, progress: Progress | None = None
) -> list[Float[Tensor, "faces _"]]:
    """Return the outputs of teachers with the same model for all plain faces, from the cache in a folder if present.

    The outputs that are not in the cache are predicted in one pass.

    Raises:
        DatasetError: if a cached file is broken.
    """
    paths = {teacher: _cache_path(teacher, faces, folder) for teacher in teachers}
    if missing := [teacher for teacher, path in paths.items() if not path.is_file()]:
        folder.mkdir(parents=True, exist_ok=True)
        for teacher, chunks in zip(missing, zip(*_predict_chunks(missing, faces, progress), strict=True), strict=True):
            with open_atomic(paths[teacher]) as file:
                np.save(file, torch.cat(chunks).numpy())
    return [_load(path) for path in paths.values()]


def _cache_path(teacher: Teacher, faces: Faces, folder: Path) -> Path:
    manifest = teacher.classifier.manifest
    settings = (manifest.sha256, manifest.input.size, manifest.alignment, teacher.flip_tta, teacher.columns)
    key = hashlib.sha256(f"{settings!r}{faces.fingerprint}".encode()).hexdigest()[:16]
    return folder / f"{teacher.cache_prefix}-{key}.npy"


def _predict_chunks(
    teachers: Sequence[Teacher], faces: Faces, progress: Progress | None
) -> Iterator[list[Float[Tensor, "faces _"]]]:
    """Yield the outputs of each teacher for the next faces."""
    first = teachers[0]
    has_features = any(isinstance(teacher, FeatureTeacher) for teacher in teachers)
    count = len(faces.rows)
    for start in range(0, count, CHUNK):
        crops = first.crop_faces(faces, faces.rows[start : start + CHUNK])
        if has_features:
            outputs = first.classifier.features(crops, flip_tta=first.flip_tta)
        else:
            outputs = (first.classifier.logits(crops, flip_tta=first.flip_tta),)
        yield [teacher.select(*outputs) for teacher in teachers]
        if progress:
            progress(min(start + CHUNK, count), count)


def _load(path: Path) -> Float[Tensor, "faces columns"]:
    try:
        return torch.from_numpy(np.load(path))
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} is broken ({error}). Remove it to create it again.") from None
