"""Training batches: which faces at which step, and their crops; a function of recipe, seed and step alone."""

import hashlib
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from mien.datasets import ADAPTERS, ANY_SPLIT, Index, Sample, read_dataset, read_leaks
from mien.datasets.face_store import FaceStore, prepare_faces
from mien.errors import ConfigError, DatasetError
from mien.faces.alignment import alignment_matrix, letterbox_matrix
from mien.progress import Progress
from mien.training.augment import Augmenter, draw_mixing, mix
from mien.training.config import Config, DataConfig
from mien.training.distributed import ALONE, Group
from mien.training.sampling import epoch_order

CHUNK = 256
"""Faces that are hashed at once."""

TargetSource = Callable[[Tensor, Tensor], Tensor]
"""Gives what is wanted of faces, (batch, C) or more columns, from their places in the split and their crops."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces of one split that have a target.

    Attributes:
        store: prepared faces of the whole data set.
        rows: (N,) their rows in the store.
        label_distribution: (N, C) float32; rows sum to 1.
        labels: (N,) int64; -1 where the image does not count in evaluation.
        names: classes, in order.
    """

    store: FaceStore
    rows: np.ndarray
    label_distribution: Tensor
    labels: np.ndarray
    names: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Of every pixel and landmark."""
        digest = hashlib.sha256()
        for start in range(0, len(self.rows), CHUNK):
            rows = self.rows[start : start + CHUNK]
            digest.update(self.store.landmarks_xy[rows].tobytes())
            digest.update(self.store.patches[rows].tobytes())
        return digest.hexdigest()


def read_index(config: DataConfig) -> Index:
    """The whole data set of a recipe, leaks included: its faces are prepared once for every recipe.

    Raises:
        ConfigError: when none is named, or one of an unknown kind.
        DatasetError: when it cannot be read, or only some samples have a split.
    """
    if not config.path:
        raise ConfigError(f"data.path is empty: give the {config.dataset} data set, data.path=FOLDER_OR_ZIP.")
    if config.dataset not in ADAPTERS:
        raise ConfigError(f"data.dataset is {config.dataset!r}; expected one of {', '.join(ADAPTERS)}.")
    index = read_dataset(config.dataset, config.path)
    _check_splits(index)
    return index


def load_faces(
    index: Index,
    config: DataConfig,
    directory: Path,
    progress: Progress | None = None,
    on_left_out: Callable[[str], None] | None = None,
) -> tuple[Faces, Faces]:
    """Prepare a data set (once) and return its training and validation faces.

    Args:
        index: what `read_index` gave.
        config: the recipe's.
        directory: of the run, where the faces are kept unless the recipe names another place.
        progress: told of the faces that are prepared.
        on_left_out: told, where there are any, of the samples that cannot be learned from, of all splits.

    Raises:
        ConfigError: when the leak list names no training image.
        DatasetError: when a split is empty.
    """
    leaks = read_excluded(index, config)
    folder = Path(config.store or directory / "faces")
    store = prepare_faces(index, folder, patch=config.patch, progress=progress)
    if on_left_out and (told := describe_left_out(index, store)):
        on_left_out(f"{told}. To try them again, remove {folder}.")
    unusable = unusable_ids(index, store)
    training = usable_rows(index, "train", leaks, unusable)
    validation = usable_rows(index, "valid", set(), unusable)
    return gather_faces(index, store, training), gather_faces(index, store, validation)


def _check_splits(index: Index) -> None:
    """Refuse samples that belong to every split beside others that do not: they would be left out in silence."""
    anywhere = [sample.id for sample in index.samples if sample.split == ANY_SPLIT]
    if 0 < len(anywhere) < len(index.samples):
        raise DatasetError(
            f"{index.root}: {len(anywhere):,} images have no split, others have: {anywhere[0]}, ... Training wants one "
            "for each: folders named train and valid, or a split column."
        )


def read_excluded(index: Index, config: DataConfig) -> set[str]:
    """The images that a recipe keeps out of training, by id or file name; none without a leak list.

    Raises:
        ConfigError: when the list names no training image of the data set.
    """
    if not config.exclude:
        return set()
    leaks = read_leaks(config.exclude, split="train")
    if not any(sample.split == "train" and _is_named(sample, leaks) for sample in index.samples):
        raise ConfigError(
            f"data.exclude={config.exclude} names no training image of {index.root}. Give a list of "
            f"lines like `Training,{_training_name(index)}`, or leave data.exclude empty."
        )
    return leaks


def _is_named(sample: Sample, names: Set[str]) -> bool:
    return not names.isdisjoint((sample.id, sample.id.rsplit("/", 1)[-1]))


def _training_name(index: Index) -> str:
    ids = (sample.id for sample in index.samples if sample.split == "train")
    return next(ids, "NAME").rsplit("/", 1)[-1]


def describe_left_out(index: Index, store: FaceStore) -> str:
    """How many samples cannot be learned from, and why, in words; "" when all can."""
    faceless = unusable_ids(index, store).difference(store.unreadable)
    parts = []
    if store.unreadable:
        first = store.unreadable[0]
        parts.append(f"{len(store.unreadable):,} images that are missing or cannot be read ({first}, ...)")
    if faceless:
        parts.append(f"{len(faceless):,} photographs in which no face is found")
    return f"left out: {'; '.join(parts)}" if parts else ""


def unusable_ids(index: Index, store: FaceStore) -> set[str]:
    """The samples that cannot be learned from: their image cannot be read, or is a photograph with no face found."""
    lost = () if store.is_cropped else np.flatnonzero(~store.is_found)
    return {*store.unreadable, *(index.samples[row].id for row in lost)}


def usable_rows(index: Index, split: str, leaks: Set[str], unusable: Collection[str] = ()) -> list[int]:
    """The samples of a split that have a target, are not unusable, and are not left out by id or file name.

    Raises:
        DatasetError: when there are none.
    """
    bad = set(unusable)
    rows = [
        row
        for row, sample in enumerate(index.samples)
        if sample.split == split
        and sample.label_distribution is not None
        and sample.id not in bad
        and not _is_named(sample, leaks)
    ]
    if not rows:
        raise DatasetError(
            f"{index.root}: no usable image in the {split} split. Training wants train and valid: folders of these "
            "names, or a split column. Photographs in which no face is found do not count."
        )
    return rows


def gather_faces(index: Index, store: FaceStore, rows: Sequence[int]) -> Faces:
    """The faces of some samples of an index, which have a label distribution."""
    samples = [index.samples[row] for row in rows]
    return Faces(
        store=store,
        rows=np.array(rows),
        label_distribution=torch.tensor([sample.label_distribution for sample in samples]),
        labels=np.array([-1 if sample.label is None else sample.label for sample in samples]),
        names=index.labels,
    )


class Batches:
    """Augmented training batches by step number, so that a resumed run sees what the straight one would have seen.

    Any number of threads may ask for batches at once.

    Args:
        faces: of the training split.
        config: the recipe.
        targets: what the network is asked to say; None takes the label distributions as they are.
        group: the processes that share every batch.

    Raises:
        ConfigError: when a batch has too few faces for the processes.
    """

    def __init__(
        self, faces: Faces, config: Config, targets: TargetSource | None = None, group: Group = ALONE
    ) -> None:
        self.faces, self.config = faces, config
        self.targets = targets or (lambda places, _: faces.label_distribution[places])
        self.batch = min(config.training.batch, len(faces.rows))
        self.steps_per_epoch = len(faces.rows) // self.batch
        self._order = lru_cache(maxsize=2)(
            self._draw_order
        )  # of this epoch and, for those who work ahead, the next
        rows, self.parts = zip(*group.split(self.batch, config.training.accumulate), strict=True)
        self.rows = torch.cat(rows)
        self.augment = Augmenter(config.augment, config.data.size)
        self.whole, self.aligned = _crop_matrices(faces, config.data)
        self.found = torch.from_numpy(faces.store.is_found[faces.rows])
        self.own_framing = config.augment.own_framing if faces.store.is_cropped else 0.0

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """This process's crops (n, 3, size, size) 0..255 and their targets (n, C) or more of one step; see `Targets`.

        All of the batch when it is alone; in the order of `parts`.
        """
        seed, alpha = self.config.training.seed, self.config.augment.mixup
        if not alpha:
            return self._plain(step, self.rows)
        partners, shares = draw_mixing(self.batch, alpha, _seed(seed, 2, step))
        wanted = torch.cat([self.rows, partners[self.rows]]).unique()
        own, other = torch.searchsorted(wanted, self.rows), torch.searchsorted(wanted, partners[self.rows])
        images, targets = self._plain(step, wanted)
        shares = shares[self.rows]
        return mix(images[own], images[other], shares), mix(targets[own], targets[other], shares)

    def _plain(self, step: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Crops and targets of some rows of a batch, not mixed."""
        generator = Generator().manual_seed(_seed(self.config.training.seed, 1, step))
        own = torch.rand(self.batch, generator=generator)[rows] < self.own_framing
        chosen = self._indices(step)[rows]
        own |= ~self.found[chosen]
        to_crop = torch.where(own[:, None, None], self.whole[chosen], self.aligned[chosen])
        patches = self.faces.store.patches[self.faces.rows[chosen.numpy()]]
        pixels = torch.from_numpy(patches).permute(0, 3, 1, 2).float()
        images = self.augment(pixels, to_crop, generator, rows, self.batch)
        return images, self.targets(chosen, images)

    def _indices(self, step: int) -> Tensor:
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[place * self.batch : (place + 1) * self.batch]

    def _draw_order(self, epoch: int) -> Tensor:
        seed = _seed(self.config.training.seed, 0, epoch)
        return epoch_order(self.faces.label_distribution, self.config.data.balance, seed)


def _seed(seed: int, stream: int, number: int) -> int:
    """A seed for one step or epoch that does not repeat between streams."""
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1, np.uint64)[0] >> 1)


def _crop_matrices(faces: Faces, config: DataConfig) -> tuple[Tensor, Tensor]:
    """The (N, 2, 3) float64 transforms from patch to crop pixels: the data set's own framing, and aligned."""
    side = faces.store.patches.shape[1]
    whole = letterbox_matrix((side, side), config.size)
    landmarks, found = faces.store.landmarks_xy[faces.rows], faces.store.is_found[faces.rows]
    aligned = np.stack(
        [
            alignment_matrix(points, config.size, template=config.template, margin=config.margin)
            if ok
            else whole
            for points, ok in zip(landmarks, found, strict=True)
        ]
    )
    return torch.from_numpy(np.broadcast_to(whole, aligned.shape).copy()), torch.from_numpy(aligned)


def evaluation_crops(faces: Faces, config: DataConfig, share: slice) -> Tensor:
    """The aligned crops (N, 3, size, size) uint8 of faces that count, as evaluation and inference cut them.

    Args:
        faces: of a split.
        config: their data set.
        share: which of those that count.
    """
    counted = faces.rows[faces.labels >= 0][share]
    crops = np.empty((len(counted), config.size, config.size, 3), dtype=np.uint8)
    for place, row in enumerate(counted):
        crops[place] = faces.store.crop(
            int(row), size=config.size, template=config.template, margin=config.margin
        )
    return torch.from_numpy(crops).permute(0, 3, 1, 2)
