"""Data set checks: missing and unreadable images, exact duplicates, and leaks between splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from mien.datasets.index import SPLITS, Index, Sample
from mien.errors import DatasetError, InputError, MienError
from mien.imaging import read_image
from mien.progress import Progress
from mien.runtime import usable_cores

UNLABELED = "not counted"
"""Key of the images without a label in `count_classes`."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Result of `check_dataset`. Images are named by their ids.

    Attributes:
        name: name of the data set.
        root: its folder or zip archive.
        license: license of the data.
        n: number of images.
        counts: images by split and class; `UNLABELED` is the last class where some have no label.
        groups: images by group (gender, age ...) and value, the most frequent value first.
        missing: images that do not exist.
        unreadable: error message of each image that cannot be decoded.
        duplicates: groups of images of one split with the same pixels.
        leaks: groups of images of several splits with the same pixels.
        duplicates_in_later_splits: images with the same pixels as one of a later split; exclude them from training.
    """

    name: str
    root: str
    license: str
    n: int
    counts: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, Mapping[str, int]]
    missing: tuple[str, ...]
    unreadable: Mapping[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    leaks: tuple[tuple[str, ...], ...]
    duplicates_in_later_splits: tuple[str, ...]

    @property
    def is_usable(self) -> bool:
        """Whether every image exists and can be decoded."""
        return not self.missing and not self.unreadable

    def to_dict(self) -> dict[str, object]:
        """Return the report in JSON types."""
        return asdict(self)


def check_dataset(index: Index, *, progress: Progress | None = None, workers: int | None = None) -> CheckReport:
    """Decode every image of a data set and report problems; a broken image does not stop the check.

    Args:
        index: data set with all its splits.
        progress: called before the first and after each image.
        workers: number of decoding threads; None uses one per core.
    """
    split_of = {sample.id: sample.split for sample in index.samples}
    hashes = list(_hash_images(index, progress, workers))
    equal = _group_equal(hashes)
    by_split = [[name for name in ids if split_of[name] == split] for ids in equal for split in _splits(index)]
    return CheckReport(
        name=index.name,
        root=str(index.root),
        license=index.license,
        n=len(index.samples),
        counts=count_classes(index),
        groups=count_groups(index),
        missing=tuple(sample.id for sample, result in hashes if result is None),
        unreadable={sample.id: result for sample, result in hashes if isinstance(result, str)},
        duplicates=tuple(tuple(ids) for ids in by_split if len(ids) > 1),
        leaks=tuple(ids for ids in equal if len({split_of[name] for name in ids}) > 1),
        duplicates_in_later_splits=tuple(sorted(_duplicates_in_later_splits(equal, split_of))),
    )


def find_duplicates(
    index: Index, *, progress: Progress | None = None, workers: int | None = None
) -> list[tuple[str, ...]]:
    """Return groups of images with the same decoded pixels, skipping images that cannot be decoded."""
    return _group_equal(_hash_images(index, progress, workers))


def without_duplicates(index: Index, split: str, *, progress: Progress | None = None) -> Index:
    """Return one split without the images that have an exact duplicate in another split.

    Accuracy on this subset is not inflated by images that a model was trained on.

    Args:
        index: data set with all its splits.
        split: "train", "valid" or "test".
        progress: called before the first and after each image.

    Raises:
        InputError: the data set has no splits.
        DatasetError: no image is left.
    """
    if not index.has_splits:
        raise InputError(f"{index.root} has no splits, so there are no duplicates in other splits.")
    split_of = {sample.id: sample.split for sample in index.samples}
    others = set(SPLITS) - {split}
    excluded = {
        name
        for ids in find_duplicates(index, progress=progress)
        if not others.isdisjoint(split_of[name] for name in ids)
        for name in ids
    }
    selected = index.select(split)
    samples = tuple(sample for sample in selected.samples if sample.id not in excluded)
    if selected.samples and not samples:
        raise DatasetError(
            f"{index.root}: every image of the split {split} has an exact duplicate in another split, so none is left "
            "to evaluate. Include the duplicates, or choose another split."
        )
    return replace(selected, samples=samples)


def count_classes(index: Index) -> dict[str, dict[str, int]]:
    """Count images by split and class, with every class in each split, and `UNLABELED` if not 0."""
    pairs = Counter((sample.split, sample.label) for sample in index.samples)
    counts: dict[str, dict[str, int]] = {}
    for split in _splits(index):
        counts[split] = {name: pairs[split, label] for label, name in enumerate(index.labels)}
        if pairs[split, None]:
            counts[split][UNLABELED] = pairs[split, None]
    return counts


def count_groups(index: Index) -> dict[str, dict[str, int]]:
    """Count images by group and value, the most frequent value first."""
    counts: dict[str, Counter[str]] = {}
    for sample in index.samples:
        for name, value in sample.groups.items():
            counts.setdefault(name, Counter())[value] += 1
    return {name: dict(values.most_common()) for name, values in counts.items()}


def _splits(index: Index) -> list[str]:
    """Return the splits that occur, in the order of `SPLITS`, then `ANY_SPLIT`."""
    present = {sample.split for sample in index.samples}
    return [split for split in SPLITS if split in present] + sorted(present.difference(SPLITS))


def _duplicates_in_later_splits(groups: Iterable[Iterable[str]], split_of: Mapping[str, str]) -> set[str]:
    """Return the images of groups of duplicates except those in the last split of their group."""
    earlier: set[str] = set()
    for ids in groups:
        ranks = {name: SPLITS.index(split_of[name]) for name in ids if split_of[name] in SPLITS}
        last = max(ranks.values(), default=0)
        earlier.update(name for name, rank in ranks.items() if rank < last)
    return earlier


def _group_equal(hashes: Iterable[tuple[Sample, bytes | str | None]]) -> list[tuple[str, ...]]:
    """Return groups of images with the same hash."""
    ids_by_hash: dict[bytes, list[str]] = {}
    for sample, result in hashes:
        if isinstance(result, bytes):
            ids_by_hash.setdefault(result, []).append(sample.id)
    return [tuple(ids) for ids in ids_by_hash.values() if len(ids) > 1]


def _hash_images(
    index: Index, progress: Progress | None, workers: int | None
) -> Iterator[tuple[Sample, bytes | str | None]]:
    """Yield each sample with the hash of its pixels, an error message, or None for a missing image."""

    def hash_image(sample: Sample) -> bytes | str | None:
        if not index.has(sample):
            return None
        try:
            image = read_image(index.read(sample))
        except MienError as error:
            return str(error)
        return hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()

    if progress is not None:
        progress(0, len(index.samples))
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        results = zip(index.samples, pool.map(hash_image, index.samples), strict=True)
        for done, (sample, result) in enumerate(results, start=1):
            if progress is not None:
                progress(done, len(index.samples))
            yield sample, result
    finally:
        # a stopped check does not read the remaining images
        pool.shutdown(cancel_futures=True)
