"""Predictions of a model for all images of a data set."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from mien.progress import Progress
from mien.runtime import usable_cores

BATCH_SIZE = 64
"""Images whose crops are in memory at a time."""


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
    """

    index: Index
    crop: Callable[[int], np.ndarray]
    logits: np.ndarray
    is_found: np.ndarray
    is_readable: np.ndarray
    embeddings: np.ndarray | None = None


def predict_dataset(
    classifier: ExpressionClassifier,
    index: Index,
    *,
    flip_tta: bool = False,
    with_embeddings: bool = False,
    progress: Progress | None = None,
) -> DatasetPredictions:
    """Detect, crop and classify the labeled face of every image, including images without a label.

    Args:
        classifier: the model.
        index: the data set.
        flip_tta: average the logits with those of the mirrored crop.
        with_embeddings: return the embeddings too.
        progress: called before the first and after each batch of images.

    Raises:
        InputError: the model lacks a class of the labeled images.
    """
    check_classes(classifier.manifest, index)
    crop_face = partial(_crop_face, classifier, index, FaceDetector(threads=1, device="cpu", precision="float32"))
    count = len(index.samples)
    logits = np.full((count, len(classifier.manifest.labels)), np.nan, dtype=np.float32)
    embeddings = np.full((count, classifier.embedding_width if with_embeddings else 0), np.nan, dtype=np.float32)
    is_found = np.zeros(count, dtype=bool)
    is_readable = np.ones(count, dtype=bool)
    if progress:
        progress(0, count)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, count, BATCH_SIZE):
            samples = index.samples[start : start + BATCH_SIZE]
            rows = np.arange(start, start + len(samples))
            crops, is_found[rows], is_readable[rows] = zip(*pool.map(crop_face, samples), strict=True)
            has_crop = [crop is not None for crop in crops]
            if any(has_crop):
                batch = np.stack([crop for crop in crops if crop is not None])
                used = rows[has_crop]
                if with_embeddings:
                    logits[used], embeddings[used] = classifier.features(batch, flip_tta=flip_tta)
                else:
                    logits[used] = classifier.logits(batch, flip_tta=flip_tta)
            if progress:
                progress(start + len(samples), count)

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
