"""Training data: selection of faces, and augmented batches as a function of recipe, seed and step."""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from mien.datasets import ADAPTERS, ANY_SPLIT, Index, read_dataset, read_leaks
from mien.datasets.face_store import FaceStore, prepare_faces
from mien.errors import ConfigError, DatasetError
from mien.faces.alignment import alignment_matrix, letterbox_matrix
from mien.progress import Progress
from mien.training.augment import Augmenter, draw_mixup, mix
from mien.training.config import Config, DataConfig
from mien.training.distributed import SINGLE_PROCESS, ProcessGroup
from mien.training.sampling import epoch_order

CHUNK = 256
"""Faces that are hashed at once."""

TargetSource = Callable[[Tensor, Tensor], Tensor]
"""Function from indices of faces in the split and their crops to targets, (batch, C) or with more columns."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces of one split that have a target.

    Attributes:
        store: prepared faces of the whole data set.
        rows: (N,) their rows in the store.
        label_distribution: (N, C) float32; rows sum to 1.
        labels: (N,) int64; -1 for images that do not count in evaluation.
        valence_arousal: (N, 2) float32, -1..1; NaN for faces without values.
        names: names of the classes, in order.
    """

    store: FaceStore
    rows: np.ndarray
    label_distribution: Tensor
    labels: np.ndarray
    valence_arousal: Tensor
    names: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all pixels and landmarks."""
        digest = hashlib.sha256()
        for start in range(0, len(self.rows), CHUNK):
            rows = self.rows[start : start + CHUNK]
            digest.update(self.store.landmarks_xy[rows].tobytes())
            digest.update(self.store.patches[rows].tobytes())
        return digest.hexdigest()


def read_index(config: DataConfig) -> Index:
    """Read the whole data set of a recipe, leaked images included: its faces are prepared once for all recipes.

    Raises:
        ConfigError: if the path is empty or the kind of data set unknown.
        DatasetError: if it cannot be read, or only some samples have a split.
    """
    if not config.path:
        raise ConfigError(f"data.path is empty: give the {config.dataset} data set, data.path=FOLDER_OR_ZIP.")
    if config.dataset not in ADAPTERS:
        raise ConfigError(f"data.dataset is {config.dataset!r}; expected one of {', '.join(ADAPTERS)}.")
    index = read_dataset(config.dataset, config.path)
    # samples of any split, mixed with samples of one split, would be skipped without a message
    unsplit = [sample.id for sample in index.samples if sample.split == ANY_SPLIT]
    if 0 < len(unsplit) < len(index.samples):
        raise DatasetError(
            f"{index.root}: {len(unsplit):,} images have no split, others have one: {unsplit[0]}, ... Training needs "
            "one for each: folders named train and valid, or a split column."
        )
    return index


def load_faces(
    index: Index,
    config: DataConfig,
    directory: Path,
    progress: Progress | None = None,
    on_message: Callable[[str], None] | None = None,
) -> tuple[Faces, Faces]:
    """Prepare the faces of a data set, unless stored already; return its training and validation faces.

    Args:
        index: result of `read_index`.
        config: data section of the recipe.
        directory: folder of the run, where faces are stored if the recipe names no other folder.
        progress: called with the number of prepared faces.
        on_message: called with a message if samples of any split cannot be used, and if names in the leak list match no
            training image.

    Raises:
        ConfigError: if the leak list names no training image.
        DatasetError: if a split is empty.
    """
    excluded = read_excluded(index, config, on_message)
    folder = Path(config.store or directory / "faces")
    store = prepare_faces(index, folder, patch=config.patch, progress=progress)
    if on_message and (message := describe_skipped(index, store)):
        on_message(f"{message}. To try them again, remove {folder}.")
    unusable = unusable_ids(index, store)
    training = usable_rows(index, "train", excluded, unusable)
    validation = usable_rows(index, "valid", set(), unusable)
    return gather_faces(index, store, training), gather_faces(index, store, validation)


def read_excluded(index: Index, config: DataConfig, on_message: Callable[[str], None] | None = None) -> set[str]:
    """Return the ids of training images that a recipe excludes.

    A name in the list that is an id excludes only that image, another name every image with this file name.

    Args:
        index: the data set.
        config: data section of the recipe.
        on_message: called with a message if names in the list match no training image.

    Raises:
        ConfigError: if the list names no training image of the data set.
    """
    if not config.exclude:
        return set()
    leaks = read_leaks(config.exclude, split="train")
    training = [sample.id for sample in index.samples if sample.split == "train"]
    file_names = leaks.difference(training)
    excluded = {name for name in training if name in leaks or _file_name(name) in file_names}
    if not excluded:
        example = _file_name(training[0]) if training else "NAME"
        raise ConfigError(
            f"data.exclude={config.exclude} names no training image of {index.root}. Give a list with "
            f"lines like `Training,{example}`, or leave data.exclude empty."
        )
    unmatched = sorted(file_names.difference(map(_file_name, excluded)))
    if unmatched and on_message:
        shown = ", ".join(unmatched[:3]) + (", ..." if len(unmatched) > 3 else "")
        on_message(f"{len(unmatched):,} of {len(leaks):,} names in data.exclude match no training image: {shown}")
    return excluded


def _file_name(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def describe_skipped(index: Index, store: FaceStore) -> str:
    """Return a message with the number of unusable samples and the reasons; "" if all are usable."""
    faceless = unusable_ids(index, store).difference(store.unreadable)
    reasons = []
    if store.unreadable:
        first = store.unreadable[0]
        reasons.append(f"{len(store.unreadable):,} missing or unreadable images ({first}, ...)")
    if faceless:
        reasons.append(f"{len(faceless):,} photographs without a detected face")
    return f"skipped {' and '.join(reasons)}" if reasons else ""


def unusable_ids(index: Index, store: FaceStore) -> set[str]:
    """Return the ids of samples with an unreadable image, or a photograph without a detected face."""
    faceless = () if store.is_cropped else np.flatnonzero(~store.is_found)
    return {*store.unreadable, *(index.samples[row].id for row in faceless)}


def usable_rows(index: Index, split: str, excluded: Set[str], unusable: Set[str] = frozenset()) -> list[int]:
    """Return the rows of samples of a split that have a target and are neither unusable nor excluded.

    Raises:
        DatasetError: if there are none.
    """
    rows = [
        row
        for row, sample in enumerate(index.samples)
        if sample.split == split
        and sample.label_distribution is not None
        and sample.id not in unusable
        and sample.id not in excluded
    ]
    if not rows:
        if any(sample.split == split and sample.id in excluded for sample in index.samples):
            raise DatasetError(f"{index.root}: data.exclude leaves no usable image in the {split} split.")
        raise DatasetError(
            f"{index.root}: no usable image in the {split} split. Training needs the splits train and valid: folders "
            "of these names, or a split column. Photographs without a detected face do not count."
        )
    return rows


def gather_faces(index: Index, store: FaceStore, rows: Sequence[int]) -> Faces:
    """Return the faces of samples; every sample needs a label distribution."""
    samples = [index.samples[row] for row in rows]
    return Faces(
        store=store,
        rows=np.array(rows),
        label_distribution=torch.tensor([sample.label_distribution for sample in samples]),
        labels=np.array([-1 if sample.label is None else sample.label for sample in samples]),
        valence_arousal=torch.tensor([sample.valence_arousal or (math.nan, math.nan) for sample in samples]),
        names=index.labels,
    )


def hash_samples(index: Index, rows: Iterable[int]) -> str:
    """Return the SHA-256 of the ids, splits, labels and targets of samples."""
    digest = hashlib.sha256()
    for row in rows:
        sample = index.samples[row]
        values = (sample.id, sample.split, sample.label, sample.label_distribution, sample.valence_arousal)
        digest.update(repr(values).encode())
    return digest.hexdigest()


class Batches:
    """Augmented training batches by step number, identical after a resume. Safe to use from several threads.

    Args:
        faces: faces of the training split.
        config: the recipe.
        targets: source of the targets; None uses the label distributions.
        group: processes that share every batch.

    Raises:
        ConfigError: if a batch has too few faces for the processes.
    """

    def __init__(
        self, faces: Faces, config: Config, targets: TargetSource | None = None, group: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        self.faces = faces
        self.config = config
        self.targets = targets or (lambda indices, _: faces.label_distribution[indices])
        self.batch = min(config.training.batch, len(faces.rows))
        self.steps_per_epoch = len(faces.rows) // self.batch
        # two epochs: prefetching threads may be ahead of the current one
        self._order = lru_cache(maxsize=2)(self._draw_order)
        positions, self.shards = zip(*group.shard(self.batch, config.training.accumulate), strict=True)
        self.positions = torch.cat(positions)
        self.augment = Augmenter(config.augment, config.data.size)
        self.unaligned, self.aligned = _crop_matrices(faces, config.data)
        self.is_found = torch.from_numpy(faces.store.is_found[faces.rows])
        self.unaligned_probability = config.augment.unaligned if faces.store.is_cropped else 0.0

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Return this process's crops (n, 3, size, size) 0..255 and targets (n, C or more) in the order of `shards`."""
        if not self.config.augment.mixup:
            return self._unmixed(step, self.positions)
        partners, weights = self.mixup(step)
        partners, weights = partners[self.positions], weights[self.positions]
        needed = torch.cat([self.positions, partners]).unique()
        images, targets = self._unmixed(step, needed)
        first, second = torch.searchsorted(needed, self.positions), torch.searchsorted(needed, partners)
        return mix(images[first], images[second], weights), mix(targets[first], targets[second], weights)

    def mixup(self, step: int) -> tuple[Tensor, Tensor]:
        """Return, for every face of the whole batch, the position of the one it is mixed with, and its own share."""
        return draw_mixup(self.batch, self.config.augment.mixup, _seed(self.config.training.seed, 2, step))

    def _unmixed(self, step: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return crops and targets at positions of a batch, before mixup."""
        generator = Generator().manual_seed(_seed(self.config.training.seed, 1, step))
        is_unaligned = torch.rand(self.batch, generator=generator)[positions] < self.unaligned_probability
        epoch, number = divmod(step, self.steps_per_epoch)
        indices = self._order(epoch)[number * self.batch : (number + 1) * self.batch][positions]
        is_unaligned |= ~self.is_found[indices]
        to_crop = torch.where(is_unaligned[:, None, None], self.unaligned[indices], self.aligned[indices])
        patches = self.faces.store.patches[self.faces.rows[indices.numpy()]]
        pixels = torch.from_numpy(patches).permute(0, 3, 1, 2).float()
        images = self.augment(pixels, to_crop, generator, positions, self.batch)
        return images, self.targets(indices, images)

    def _draw_order(self, epoch: int) -> Tensor:
        seed = _seed(self.config.training.seed, 0, epoch)
        return epoch_order(self.faces.label_distribution, self.config.data.balance, seed)


def _seed(seed: int, stream: int, number: int) -> int:
    """Return the seed of a step or epoch, different for every stream."""
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0] >> 1)


def _crop_matrices(faces: Faces, config: DataConfig) -> tuple[Tensor, Tensor]:
    """Return (N, 2, 3) float64 transforms from patch to crop pixels: unaligned, and aligned where possible."""
    side = faces.store.patches.shape[1]
    unaligned = letterbox_matrix((side, side), config.size)
    landmarks = faces.store.landmarks_xy[faces.rows]
    aligned = np.stack(
        [
            alignment_matrix(points, config.size, template=config.template, margin=config.margin)
            if is_found
            else unaligned
            for points, is_found in zip(landmarks, faces.store.is_found[faces.rows], strict=True)
        ]
    )
    return torch.from_numpy(np.broadcast_to(unaligned, aligned.shape).copy()), torch.from_numpy(aligned)


def evaluation_crops(store: FaceStore, rows: np.ndarray, config: DataConfig) -> Tensor:
    """Return aligned crops (N, 3, size, size) uint8 of rows of a store, identical to those of inference."""
    crops = np.empty((len(rows), config.size, config.size, 3), dtype=np.uint8)
    for number, row in enumerate(rows):
        crops[number] = store.crop(int(row), size=config.size, template=config.template, margin=config.margin)
    return torch.from_numpy(crops).permute(0, 3, 1, 2)
