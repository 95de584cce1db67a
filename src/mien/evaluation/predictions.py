"""Predictions of a model for all images of a data set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from mien.datasets.index import Index, Sample
from mien.datasets.labeled_face import detect_labeled_face
from mien.errors import DatasetError, ImageReadError
from mien.evaluation.labels import check_classes
from mien.faces.alignment import letterbox
from mien.faces.detection import FaceDetector
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.parallel import map_in_order
from mien.progress import Progress
from mien.runtime import count_workers

BATCH_SIZE = 8
"""Images whose faces are classified together; larger batches gain no time on a CPU and stop later."""


@dataclass(frozen=True, kw_only=True)
class DatasetPredictions:
    """Predictions of a model, one row per image.

    Attributes:
        index: the images.
        crop: function that returns the input of the network for a row, (S, S, 3) uint8; black where there was none.
            Crops are computed again on each call, because those of a large data set would not fit in memory.
        logits: (N, C) float32; NaN where no face was detected in a photograph, or the image is unreadable.
        is_found: (N,) bool: whether a face was detected. Face crops are classified without one too.
        is_readable: (N,) bool: whether the image exists and can be decoded.
        embeddings: (N, D) float32, on request; NaN where the logits are.
        valence_arousal: (N, 2) float32 of a model with a head for them; NaN where the logits are.
    """

    index: Index
    crop: Callable[[int], np.ndarray]
    logits: np.ndarray
    is_found: np.ndarray
    is_readable: np.ndarray
    embeddings: np.ndarray | None = None
    valence_arousal: np.ndarray | None = None


def predict_dataset(
    classifier: ExpressionClassifier,
    index: Index,
    *,
    flip_tta: bool = False,
    with_embeddings: bool = False,
    workers: int = 0,
    progress: Progress | None = None,
) -> DatasetPredictions:
    """Detect, crop and classify the labeled face of every image, including images without a label.

    Args:
        classifier: the model; with several workers it should have one thread.
        index: the data set.
        flip_tta: average the logits with those of the mirrored crop.
        with_embeddings: return the embeddings too.
        workers: number of batches that are processed in parallel; 0 is one per usable core.
        progress: called before the first and after each batch of images.

    Raises:
        InputError: the model lacks a class of the labeled images.
    """
    check_classes(classifier.manifest, index)
    crop_face = partial(_crop_face, classifier, index, FaceDetector(threads=1, device="cpu", precision="float32"))
    count = len(index.samples)
    logits = np.full((count, len(classifier.manifest.labels)), np.nan, dtype=np.float32)
    embeddings = np.full((count, classifier.embedding_width if with_embeddings else 0), np.nan, dtype=np.float32)
    affect = np.full((count, 2), np.nan, dtype=np.float32)
    is_found = np.zeros(count, dtype=bool)
    is_readable = np.ones(count, dtype=bool)

    def predict_batch(start: int) -> int:
        """Fill the rows of the batch that begins at `start`; return the number of images that are done after it."""
        samples = index.samples[start : start + BATCH_SIZE]
        rows = np.arange(start, start + len(samples))
        crops, is_found[rows], is_readable[rows] = zip(*map(crop_face, samples), strict=True)
        used = rows[[crop is not None for crop in crops]]
        if len(used):
            batch = np.stack([crop for crop in crops if crop is not None])
            if with_embeddings:
                logits[used], embeddings[used] = classifier.features(batch, flip_tta=flip_tta)
            else:
                logits[used], values = classifier.predict(batch, flip_tta=flip_tta)
                if values is not None:
                    affect[used] = values
        return start + len(samples)

    if progress:
        progress(0, count)
    with closing(map_in_order(predict_batch, range(0, count, BATCH_SIZE), count_workers(workers))) as batches:
        for done in batches:
            if progress:
                progress(done, count)

    size = classifier.manifest.input.size

    def crop(row: int) -> np.ndarray:
        pixels, *_ = crop_face(index.samples[row])
        return np.zeros((size, size, 3), dtype=np.uint8) if pixels is None else pixels

    return DatasetPredictions(
        index=index,
        crop=crop,
        logits=logits,
        is_found=is_found,
        is_readable=is_readable,
        embeddings=embeddings if with_embeddings else None,
        valence_arousal=affect if classifier.has_affect and not with_embeddings else None,
    )


def _crop_face(
    classifier: ExpressionClassifier, index: Index, detector: FaceDetector, sample: Sample
) -> tuple[np.ndarray | None, bool, bool]:
    """Return the crop of the labeled face, whether a face was detected, and whether the image is readable."""
    try:
        image = read_image(index.read(sample))
    except (ImageReadError, DatasetError):
        return None, False, False
    face = detect_labeled_face(image, sample, detector)
    if face is not None:
        return classifier.crop(image, face), True, True
    size = classifier.manifest.input.size
    return letterbox(image, size=size) if index.is_cropped else None, False, True
