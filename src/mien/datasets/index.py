"""Labeled samples of a data set and access to their images; the common result of all adapters."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mien.datasets.files import ImageStore, open_files
from mien.emotions import EXPRESSIONS
from mien.errors import AnnotationError, DatasetError, InputError
from mien.manifest import TrainingSource

SPLITS = ("train", "valid", "test")
"""Names of the splits, in the order of their use."""

SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""Accepted spellings of the splits in folders and tables, lower case."""

ANY_SPLIT = "any"
"""Split of the samples of a data set without splits; they belong to every split."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A labeled image.

    Attributes:
        id: unique in its index: the path of the image inside the data set, separated by "/".
        split: "train", "valid" or "test"; `ANY_SPLIT` in a data set without splits.
        label: class id in `Index.labels` (FER+: the official majority label); None: excluded from evaluation.
        label_distribution: (C,) training target, sums to 1; None: excluded from training.
        votes: raw annotator votes, if any (FER+: the ten columns).
        groups: further attributes of the person or the image (gender, age ...) by which results are reported.
        landmarks_xy: five points of the labeled face in image pixels, in the order of `mien.faces`, if annotated.
        valence_arousal: perceived valence and arousal, -1..1 each, if annotated (AffectNet).
        line: line number in the label file, for messages.
    """

    id: str
    split: str
    label: int | None = None
    label_distribution: tuple[float, ...] | None = None
    votes: tuple[float, ...] | None = None
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)
    landmarks_xy: tuple[tuple[float, float], ...] | None = None
    valence_arousal: tuple[float, float] | None = None
    line: int | None = None

    def with_label(self, expression: str, labels: tuple[str, ...]) -> Sample:
        """Return the sample with a class and its one-hot label distribution."""
        label_distribution = tuple(float(name == expression) for name in labels)
        return replace(self, label=labels.index(expression), label_distribution=label_distribution)


@dataclass(frozen=True, kw_only=True)
class Index:
    """A data set: samples, and access to their images.

    Attributes:
        name: name of the data set.
        root: folder or zip archive (for a table: the folder to which its paths are relative).
        labels: class names; `Sample.label` is a position in it.
        samples: samples of all splits, or of the selected one.
        license: license of the data, as far as its adapter knows it.
        title: name for readers, with authors; "" uses `name`.
        parts: titles and licenses of joined data sets, by the name that starts the sample ids; empty for a single one.
        is_cropped: True for face crops, which are used whole where no face is detected; False for photographs.
        split: selected split; "all" where none was selected or the data set has no splits.
        source: source of the images; None for the files below `root` named by the sample ids.
    """

    name: str
    root: Path
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    license: str
    is_cropped: bool
    split: str = "all"
    title: str = ""
    parts: Mapping[str, TrainingSource] = field(default_factory=dict, hash=False)
    source: ImageStore | None = field(default=None, repr=False, compare=False)

    @cached_property
    def images(self) -> ImageStore:
        """The images, named by the sample ids."""
        return self.source if self.source is not None else open_files(self.root)

    def has(self, sample: Sample) -> bool:
        """Return whether the image of a sample exists (it may still be broken)."""
        return self.images.has(sample.id)

    def read(self, sample: Sample) -> bytes | np.ndarray:
        """Return the encoded bytes of an image, or (H, W, 3) uint8 RGB where the data set stores pixels as text.

        Thread-safe, also after pickling or forking to worker processes.

        Raises:
            DatasetError: the image is missing or cannot be unpacked from the zip archive.
        """
        try:
            return self.images.read(sample.id)
        except KeyError:
            line = "" if sample.line is None else f" (line {sample.line} of its label file)"
            raise DatasetError(
                f"{self.root}: the image {sample.id}{line} is missing. Add the image or remove its label."
            ) from None

    @property
    def has_splits(self) -> bool:
        """Whether any sample belongs to a single split; otherwise every split is the whole data set."""
        return any(sample.split != ANY_SPLIT for sample in self.samples)

    def select(self, split: str) -> Index:
        """Return the samples of one split; those of `ANY_SPLIT` belong to every split.

        Raises:
            InputError: the name of the split is unknown.
            DatasetError: the data set has no sample in this split.
        """
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}.")
        samples = tuple(sample for sample in self.samples if sample.split in (split, ANY_SPLIT))
        if not samples:
            present = sorted({sample.split for sample in self.samples})
            raise DatasetError(
                f"{self.root}: no sample in the split {split!r}. It has: {', '.join(present) or 'none'}."
            )
        return replace(self, samples=samples, split=split if self.has_splits else self.split)


def hold_out_validation(samples: Iterable[Sample], fraction: float) -> tuple[Sample, ...]:
    """Move a fraction of the training samples of each class to the split "valid", in place of a missing one.

    Samples are chosen by a hash of their file names, so the choice depends neither on their order nor on the folder of
    the data set. A class with at least two training samples gives at least one. The order is kept.

    Args:
        samples: samples of all splits.
        fraction: fraction of each class, 0..1.
    """
    samples = tuple(samples)
    classes: dict[int | None, list[Sample]] = {}
    for sample in samples:
        if sample.split == "train":
            classes.setdefault(sample.label, []).append(sample)
    held_out: set[str] = set()
    for members in classes.values():
        count = max(round(fraction * len(members)), int(len(members) > 1))
        held_out.update(sample.id for sample in sorted(members, key=_hash_order)[:count])
    return tuple(replace(sample, split="valid") if sample.id in held_out else sample for sample in samples)


def _hash_order(sample: Sample) -> tuple[bytes, str]:
    """Return a sort key from the file name, equal for the aligned and the original images of RAF-DB."""
    name = sample.id.rsplit("/", 1)[-1].rsplit(".", 1)[0].removesuffix("_aligned")
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), sample.id


def own_title(kind: str, path: Path) -> str:
    """Return a title for a user's own data: the kind and the last part of the path, without private folders."""
    return f"{kind} {path.resolve().name}"


def unique_labels(expressions: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct expressions in the order of `mien.EXPRESSIONS`.

    Example:
        >>> unique_labels(["sadness", "happiness", "sadness"])
        ('happiness', 'sadness')
    """
    present = set(expressions)
    return tuple(expression for expression in EXPRESSIONS if expression in present)


def check_listed_once(file: Path, samples: Iterable[Sample]) -> None:
    """Raise AnnotationError for an image that a label file lists in two lines."""
    lines: dict[str, int | None] = {}
    for sample in samples:
        first = lines.setdefault(os.path.normpath(sample.id), sample.line)
        if first != sample.line:
            problem = f"the image {sample.id} is already listed in line {first}."
            raise AnnotationError(file, sample.line or 0, problem)
