"""A model measured on a data set: faces found, cut and read as `mien predict` does it.

But for faces that lie on their side: `mien predict` searches for them where it finds no other, and straightens them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mien import metrics
from mien.datasets.check import find_duplicates
from mien.datasets.face_store import labeled_face
from mien.datasets.ferplus import argmax_label, majority_label
from mien.datasets.index import SPLITS, Index, Sample
from mien.errors import DatasetError, ImageReadError, InputError
from mien.evaluation.groups import columns_left_out, group_columns, group_results
from mien.evaluation.summary import summarize
from mien.faces.alignment import letterbox
from mien.faces.detection import FaceDetector
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import Manifest
from mien.progress import Progress
from mien.runtime import usable_cores

AHEAD = 64
"""Images whose crops are in memory before the network reads them."""

SHOWN = 24
"""Mistakes that are kept with their images, the most confident ones."""

PROTOCOLS = {"majority": majority_label, "argmax": argmax_label}
"""FER+'s two ways from ten votes to one label; the first is the official one."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A face that was read otherwise than it is labeled.

    Attributes:
        image: (H, W, 3) uint8 RGB, as the page shows it.
        name: the file, or whatever leads back to it.
        truth: the label's name.
        predicted: the name that was given; None when there is no answer.
        confidence: of that answer, 0..1; None when there is none.
        is_readable: whether there was an image to look for a face in.
    """

    image: np.ndarray
    name: str
    truth: str
    predicted: str | None
    confidence: float | None
    is_readable: bool = True


@dataclass(frozen=True, kw_only=True)
class DatasetPredictions:
    """What a model answered for every image of an index, row by row.

    Attributes:
        index: the images.
        crop: gives what the network saw of a row, (S, S, 3) uint8, cut anew: a large data set's would fill the memory.
            Black where nothing could be shown to it.
        logits: (N, C) float32; NaN where no face was found in a photograph, or the image is unreadable.
        is_found: (N,) whether a face was found; of a data set of face crops the whole crop is read all the same.
        is_readable: (N,) whether the image was there and could be read.
    """

    index: Index
    crop: Callable[[int], np.ndarray]
    logits: np.ndarray
    is_found: np.ndarray
    is_readable: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The numbers of a measurement, and the answers that were wrong."""

    summary: dict[str, Any]
    mistakes: tuple[Mistake, ...]


def evaluate(
    classifier: ExpressionClassifier,
    index: Index,
    *,
    flip_tta: bool = False,
    by_group: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model on a data set; an image without a label does not count.

    In photographs (`index.is_cropped` false) the labeled face is read, and a missed one is an error: the face found
    around the landmarks that the data set states, the largest face where it states none. In data sets of face crops a
    crop without a face found is read whole, and counted in `missed_faces`.

    Args:
        classifier: the model.
        index: the data set, one split of it.
        flip_tta: average with the mirrored crop.
        by_group: where the images have groups, measure each of them too.
        progress: told how many images are done.

    Returns:
        See `mien.evaluation.summary.summarize`; for FER+ the official protocol at the top, both in `protocols`; where
        the images have groups, `mien.evaluation.groups.group_results` in `groups`, and `columns_left_out` in
        `groups_left_out`.

    Raises:
        InputError: when the faces show a class that the model does not know.
        DatasetError: when no image has a label.
    """
    labeled = select_labeled(index)
    readings = predict_dataset(classifier, labeled, flip_tta=flip_tta, progress=progress)
    evaluation = evaluate_predictions(classifier.manifest, readings)
    if not by_group:
        return evaluation
    return replace(evaluation, summary={**evaluation.summary, **_judge_groups(classifier.manifest, readings)})


def evaluate_predictions(manifest: Manifest, readings: DatasetPredictions) -> Evaluation:
    """The numbers behind a model's answers; see `evaluate`."""
    protocols = {name: _labels(manifest, readings.index, name) for name in _protocol_names(readings.index)}
    summaries = {name: _summarize(manifest, readings, labels) for name, labels in protocols.items()}
    official = next(iter(protocols))
    summary = {**summaries[official], "unreadable": _unreadable(readings)}
    if len(protocols) > 1:
        summary["protocols"] = summaries
    return Evaluation(summary=summary, mistakes=_mistakes(manifest, readings, protocols[official]))


def official_labels(manifest: Manifest, index: Index) -> np.ndarray:
    """(N,) class numbers of the model by the data set's official protocol; -1 where an image does not count."""
    return _labels(manifest, index, _protocol_names(index)[0])


def _judge_groups(manifest: Manifest, readings: DatasetPredictions) -> dict[str, Any]:
    labels, predictions = official_labels(manifest, readings.index), metrics.choose_labels(readings.logits)
    rows = np.flatnonzero(labels >= 0)
    samples = [readings.index.samples[row] for row in rows]
    found: dict[str, Any] = {}
    if columns := group_columns(samples):
        found["groups"] = group_results(labels[rows], predictions[rows], columns, len(manifest.labels))
    if left_out := columns_left_out(samples):
        found["groups_left_out"] = left_out
    return found


def without_duplicates(index: Index, split: str, *, progress: Progress | None = None) -> Index:
    """One split without the images whose exact pixels also stand in another: the honest figure.

    Raises:
        InputError: when the data set has no splits.
    """
    if not index.has_splits:
        raise InputError(
            f"{index.root} has no splits, so no image can have its twin in another: measure it whole."
        )
    splits = {sample.id: sample.split for sample in index.samples}
    leaked = {
        name
        for group in find_duplicates(index, progress=progress)
        if {splits[other] for other in group} & (set(SPLITS) - {split})
        for name in group
    }
    chosen = index.select(split)
    return replace(chosen, samples=tuple(sample for sample in chosen.samples if sample.id not in leaked))


def predict_dataset(
    classifier: ExpressionClassifier,
    index: Index,
    *,
    flip_tta: bool = False,
    progress: Progress | None = None,
) -> DatasetPredictions:
    """Find, cut and read the face of every image (see `evaluate`), with a label or without.

    Raises:
        InputError: when the faces show a class that the model does not know.
    """
    check_classes(classifier.manifest, index)
    size = classifier.manifest.input.size
    count = len(index.samples)
    cutter = _Cutter(classifier, index)
    logits = np.full((count, len(classifier.manifest.labels)), np.nan, dtype=np.float32)
    is_found = np.zeros(count, dtype=bool)
    is_readable = np.ones(count, dtype=bool)
    done = 0
    for cuts in _cut_ahead(cutter):
        rows = np.arange(done, done + len(cuts))
        shown = np.array([cut.crop is not None for cut in cuts], dtype=bool)
        is_found[rows] = [cut.is_found for cut in cuts]
        is_readable[rows] = [cut.is_readable for cut in cuts]
        if shown.any():
            crops = np.stack([cut.crop for cut in cuts if cut.crop is not None])
            logits[rows[shown]] = classifier.logits(crops, flip_tta=flip_tta)
        done += len(cuts)
        if progress:
            progress(done, count)

    def crop(row: int) -> np.ndarray:
        found = cutter(index.samples[row]).crop
        return np.zeros((size, size, 3), dtype=np.uint8) if found is None else found

    return DatasetPredictions(
        index=index, crop=crop, logits=logits, is_found=is_found, is_readable=is_readable
    )


@dataclass(frozen=True)
class _Cut:
    crop: np.ndarray | None
    is_found: bool = False
    is_readable: bool = True


class _Cutter:
    """Finds and cuts the face of an image; from many threads."""

    def __init__(self, classifier: ExpressionClassifier, index: Index) -> None:
        self.classifier, self.index = classifier, index
        self.detector = FaceDetector(threads=1)

    def __call__(self, sample: Sample) -> _Cut:
        try:
            image = read_image(self.index.read(sample))
        except (ImageReadError, DatasetError):
            return _Cut(None, is_readable=False)
        face = labeled_face(image, sample, self.detector)
        if face is not None:
            return _Cut(self.classifier.crop(image, face), is_found=True)
        size = self.classifier.manifest.input.size
        return _Cut(letterbox(image, size=size) if self.index.is_cropped else None)


def _cut_ahead(cutter: _Cutter) -> Iterator[list[_Cut]]:
    """The crops of `AHEAD` images at a time, cut in several threads."""
    samples = cutter.index.samples
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(samples), AHEAD):
            yield list(pool.map(cutter, samples[start : start + AHEAD]))


def _unreadable(readings: DatasetPredictions) -> list[str]:
    """Ids of the images that are missing or broken; in accuracy they count as errors."""
    return [readings.index.samples[row].id for row in np.flatnonzero(~readings.is_readable)]


def select_labeled(index: Index) -> Index:
    """The images that count by some protocol.

    Raises:
        DatasetError: when there are none.
    """
    samples = tuple(
        sample
        for sample in index.samples
        if sample.label is not None or (sample.votes is not None and argmax_label(sample.votes) is not None)
    )
    if not samples:
        raise DatasetError(f"{index.root}: no image with a label.")
    return replace(index, samples=samples)


def _protocol_names(index: Index) -> list[str]:
    has_votes = any(sample.votes is not None for sample in index.samples)
    return list(PROTOCOLS) if has_votes else ["labels"]


def _labels(manifest: Manifest, index: Index, protocol: str) -> np.ndarray:
    known = {name: number for number, name in enumerate(manifest.labels)}
    numbers = [
        known.get(name, -1) for name in index.labels
    ]  # of a class that no face shows, see check_classes
    found = (
        PROTOCOLS[protocol](sample.votes)
        if protocol in PROTOCOLS and sample.votes is not None
        else sample.label
        for sample in index.samples
    )
    return np.array([-1 if label is None else numbers[label] for label in found], dtype=np.int64)


def _summarize(manifest: Manifest, readings: DatasetPredictions, labels: np.ndarray) -> dict[str, Any]:
    counted = labels >= 0
    summary = summarize(labels[counted], readings.logits[counted], manifest.labels, manifest.temperature)
    return {
        **summary,
        "missed_faces": int((~readings.is_found & readings.is_readable)[counted].sum()),
        "unreadable_faces": int((~readings.is_readable)[counted].sum()),
    }


def _mistakes(manifest: Manifest, readings: DatasetPredictions, labels: np.ndarray) -> tuple[Mistake, ...]:
    names, predictions = manifest.labels, metrics.choose_labels(readings.logits)
    probabilities = metrics.softmax(readings.logits, manifest.temperature)
    wrong = np.flatnonzero((labels >= 0) & (labels != predictions))
    surest_first = np.nan_to_num(probabilities[wrong].max(axis=1), nan=-1.0)
    wrong = wrong[np.argsort(-surest_first, kind="stable")][:SHOWN]
    return tuple(
        Mistake(
            image=readings.crop(int(row)),
            name=readings.index.samples[row].id,
            truth=names[labels[row]],
            predicted=None if predictions[row] < 0 else names[predictions[row]],
            confidence=None if predictions[row] < 0 else float(probabilities[row].max()),
            is_readable=bool(readings.is_readable[row]),
        )
        for row in wrong
    )


def check_classes(manifest: Manifest, index: Index) -> None:
    """Refuse a model that cannot know what the faces show.

    Raises:
        InputError: when the faces that count show a class that the model does not know.
    """
    shown = {sample.label for sample in index.samples}
    shown |= {argmax_label(sample.votes) for sample in index.samples if sample.votes is not None}
    names = [name for number, name in enumerate(index.labels) if number in shown]
    if missing := [name for name in names if name not in manifest.labels]:
        raise InputError(
            f"the faces show {', '.join(missing)}, which the model {manifest.name} does not know."
        )
