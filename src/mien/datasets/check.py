"""What is wrong with a data set: missing or unreadable images, duplicates, leaks between splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from mien.datasets.index import SPLITS, Index, Sample
from mien.errors import MienError
from mien.imaging import read_image
from mien.progress import Progress
from mien.runtime import usable_cores

NOT_COUNTED = "not counted"
"""What the counts call images without a label."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What `check_dataset` found. Images are named by their ids."""

    name: str
    root: str
    license: str
    n: int
    counts: Mapping[str, Mapping[str, int]]
    """Images by split and class; `NOT_COUNTED` is the last class where some have no label."""
    groups: Mapping[str, Mapping[str, int]]
    """Images by group (gender, age ...) and its values, the commonest first."""
    missing: tuple[str, ...]
    unreadable: Mapping[str, str]
    """Image: what is wrong with it."""
    duplicates: tuple[tuple[str, ...], ...]
    """Images of one split that have the same pixels."""
    leaks: tuple[tuple[str, ...], ...]
    """Images of several splits that have the same pixels."""
    duplicates_in_later_splits: tuple[str, ...]
    """Images whose pixels also stand in a later split: to be left out of training."""

    @property
    def is_usable(self) -> bool:
        """Whether every image is there and can be read."""
        return not self.missing and not self.unreadable

    def to_dict(self) -> dict[str, object]:
        """The report as JSON takes it."""
        return asdict(self)


def check_dataset(
    index: Index, *, progress: Progress | None = None, workers: int | None = None
) -> CheckReport:
    """Read every image of a data set and report what is wrong. No image of it stops the check.

    Args:
        index: the data set, all its splits.
        progress: called after each image.
        workers: threads that decode; None: one a processor.
    """
    split_of = {sample.id: sample.split for sample in index.samples}
    missing: list[str] = []
    unreadable: dict[str, str] = {}
    same: dict[bytes, list[str]] = {}
    for sample, finding in _look_at_each(index, progress, workers):
        if finding is None:
            missing.append(sample.id)
        elif isinstance(finding, str):
            unreadable[sample.id] = finding
        else:
            same.setdefault(finding, []).append(sample.id)
    twins = [ids for ids in same.values() if len(ids) > 1]
    within = [[name for name in ids if split_of[name] == split] for ids in twins for split in _splits(index)]
    return CheckReport(
        name=index.name,
        root=str(index.root),
        license=index.license,
        n=len(index.samples),
        counts=count_classes(index),
        groups=count_groups(index),
        missing=tuple(missing),
        unreadable=unreadable,
        duplicates=tuple(tuple(ids) for ids in within if len(ids) > 1),
        leaks=tuple(tuple(ids) for ids in twins if len({split_of[name] for name in ids}) > 1),
        duplicates_in_later_splits=tuple(sorted(_later_twins(twins, split_of))),
    )


def find_duplicates(
    index: Index, *, progress: Progress | None = None, workers: int | None = None
) -> list[tuple[str, ...]]:
    """Groups of images with the same decoded pixels; images that cannot be read are passed over."""
    same: dict[bytes, list[str]] = {}
    for sample, finding in _look_at_each(index, progress, workers):
        if isinstance(finding, bytes):
            same.setdefault(finding, []).append(sample.id)
    return [tuple(ids) for ids in same.values() if len(ids) > 1]


def count_classes(index: Index) -> dict[str, dict[str, int]]:
    """Images by split and class, every class in each split; `NOT_COUNTED` where some have no label."""
    pairs = Counter((sample.split, sample.label) for sample in index.samples)
    counts: dict[str, dict[str, int]] = {}
    for split in _splits(index):
        counts[split] = {name: pairs[split, label] for label, name in enumerate(index.labels)}
        if pairs[split, None]:
            counts[split][NOT_COUNTED] = pairs[split, None]
    return counts


def count_groups(index: Index) -> dict[str, dict[str, int]]:
    """Images by group and value, the commonest value first; a sample that names no value is not counted."""
    found: dict[str, Counter[str]] = {}
    for sample in index.samples:
        for name, value in sample.groups.items():
            found.setdefault(name, Counter())[value] += 1
    return {name: dict(values.most_common()) for name, values in found.items()}


def _splits(index: Index) -> list[str]:
    """The splits that occur, in their order; a split without a name comes last."""
    present = {sample.split for sample in index.samples}
    return [split for split in SPLITS if split in present] + sorted(present.difference(SPLITS))


def _later_twins(twins: Iterable[Iterable[str]], split_of: Mapping[str, str]) -> set[str]:
    later: set[str] = set()
    for ids in twins:
        ranks = {name: SPLITS.index(split_of[name]) for name in ids if split_of[name] in SPLITS}
        last = max(ranks.values(), default=0)
        later.update(name for name, rank in ranks.items() if rank < last)
    return later


def _look_at_each(
    index: Index, progress: Progress | None, workers: int | None
) -> Iterator[tuple[Sample, bytes | str | None]]:
    """Each sample with the hash of its pixels, or what is wrong with them, or None: missing."""

    def look(sample: Sample) -> bytes | str | None:
        if not index.has(sample):
            return None
        try:
            image = read_image(index.read(sample))
        except MienError as error:
            return str(error)
        return hashlib.blake2b(repr(image.shape).encode() + image.tobytes(), digest_size=16).digest()

    total = len(index.samples)
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for done, (sample, finding) in enumerate(
            zip(index.samples, pool.map(look, index.samples), strict=True)
        ):
            if progress is not None:
                progress(done + 1, total)
            yield sample, finding
