"""Fit of the quality temperature on degraded copies of validation faces."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from mien import metrics
from mien.datasets.index import Index
from mien.datasets.labeled_face import detect_labeled_face
from mien.errors import DatasetError, ImageReadError
from mien.faces import FaceDetector, face_quality
from mien.imaging import read_image, resize
from mien.inference.classifier import ExpressionClassifier
from mien.manifest import MAX_HALVINGS, QualityTemperature
from mien.progress import Progress
from mien.results import Face
from mien.runtime import usable_cores

MAX_FACES = 1000
"""Maximum number of validation faces that are degraded, drawn at random."""
MIN_FACES = 100
"""Minimum number of detected faces among them; with fewer, no quality temperature is fitted."""
SCALES = (2 / 3, 1 / 2, 1 / 3, 1 / 4)
"""Sizes of reduced copies, as fractions of the face's size or, if smaller, of the model's input."""
BLURS = (0.02, 0.04, 0.06)
"""Standard deviations of blurred copies, as fractions of the face's size."""
MAX_WEIGHT = 5.0
"""Maximum of a weight; the same as in a manifest."""
CHUNK = 64
"""Faces whose copies are in memory at the same time."""


def measure_quality_temperature(
    classifier: ExpressionClassifier,
    index: Index,
    labels: np.ndarray,
    temperature: float,
    *,
    progress: Progress | None = None,
) -> QualityTemperature | None:
    """Fit the quality temperature of a model on copies of validation faces that are reduced or blurred.

    Args:
        classifier: the model.
        index: validation images.
        labels: (N,) class numbers of the images; -1 for those that do not count.
        temperature: temperature for faces of good quality.
        progress: called with the number of degraded faces.

    Returns:
        None if fewer than `MIN_FACES` faces are detected.
    """
    rows = np.random.default_rng(0).permutation(np.flatnonzero(labels >= 0))[:MAX_FACES]
    logits, expected, qualities, is_original = [], [], [], []
    for number, (row, copies) in enumerate(_copies(classifier, index, rows), start=1):
        if progress:
            progress(number, len(rows))
        if not copies:
            continue
        qualities += [face_quality(image, face) for image, face in copies]
        logits.append(classifier.logits(np.stack([classifier.crop(image, face) for image, face in copies])))
        expected += [labels[row]] * len(copies)
        is_original += [True] + [False] * (len(copies) - 1)
    if len(logits) < MIN_FACES:
        return None
    return fit_quality_temperature(
        np.concatenate(logits),
        np.array(expected),
        np.array([quality.size_px for quality in qualities]),
        np.array([quality.sharpness for quality in qualities]),
        np.array(is_original),
        temperature,
        max_size_px=classifier.manifest.input.size,
    )


def fit_quality_temperature(
    logits: np.ndarray,
    labels: np.ndarray,
    size_px: np.ndarray,
    sharpness: np.ndarray,
    is_original: np.ndarray,
    temperature: float,
    *,
    max_size_px: float = np.inf,
) -> QualityTemperature:
    """Fit the two weights of a quality temperature; its reference is the median quality of the original faces.

    Args:
        logits: (N, C) of original faces and of their degraded copies.
        labels: (N,) class numbers.
        size_px: (N,) values of `Quality.size_px`.
        sharpness: (N,) values of `Quality.sharpness`.
        is_original: (N,) bool, False for copies.
        temperature: temperature for faces of the reference quality.
        max_size_px: maximum of the reference size.
    """
    reference_size = min(float(np.median(size_px[is_original])), max_size_px)
    reference_sharpness = float(np.median(sharpness[is_original]))
    features = quality_features(size_px, sharpness, reference_size, reference_sharpness)
    per_halving, per_blur = fit_temperature_weights(logits, labels, features, temperature).round(3).tolist()
    return QualityTemperature(
        size_px=round(reference_size, 1),
        per_halving=per_halving,
        sharpness=round(reference_sharpness, 3),
        per_blur=per_blur,
    )


def quality_features(
    size_px: np.ndarray, sharpness: np.ndarray, reference_size: float, reference_sharpness: float
) -> np.ndarray:
    """Return (N, 2) features of `QualityTemperature.factor`: halvings of the size, relative loss of sharpness.

    Both are 0 for a face of the reference quality or better.
    """
    halvings = np.clip(np.log2(reference_size / np.maximum(size_px, 1e-6)), 0, MAX_HALVINGS)
    return np.column_stack([halvings, np.clip(1 - sharpness / reference_sharpness, 0, 1)])


def fit_temperature_weights(
    logits: np.ndarray, labels: np.ndarray, features: np.ndarray, temperature: float
) -> np.ndarray:
    """Fit w in log T = log(temperature) + features @ w by maximum likelihood, with projected Fisher scoring.

    Args:
        logits: (N, C).
        labels: (N,) class numbers.
        features: (N, F).
        temperature: temperature at features of 0.

    Returns:
        (F,) weights within 0..`MAX_WEIGHT`.
    """
    logits = logits.astype(np.float64)
    weights = np.zeros(features.shape[1])
    for _ in range(100):
        scaled = logits / (temperature * np.exp(features @ weights))[:, None]
        probabilities = metrics.softmax(scaled)
        mean = (scaled * probabilities).sum(axis=1)
        variance = (scaled**2 * probabilities).sum(axis=1) - mean**2
        gradient = features.T @ (scaled[np.arange(len(labels)), labels] - mean)
        is_free = np.where(gradient < 0, weights < MAX_WEIGHT, weights > 0)
        information = (features[:, is_free].T * variance) @ features[:, is_free]
        step = np.zeros_like(weights)
        if is_free.any():
            step[is_free] = np.linalg.lstsq(information, gradient[is_free], rcond=None)[0].clip(-1, 1)
        updated = (weights - step).clip(0, MAX_WEIGHT)
        is_converged = np.abs(updated - weights).max() < 1e-7
        weights = updated
        if is_converged:
            break
    return weights


def _copies(
    classifier: ExpressionClassifier, index: Index, rows: np.ndarray
) -> Iterator[tuple[int, list[tuple[np.ndarray, Face]]]]:
    """Yield every row with its original face and degraded copies; an empty list if no face is detected."""
    detector = FaceDetector(threads=1, device="cpu", precision="float32")

    def copies(row: int) -> list[tuple[np.ndarray, Face]]:
        sample = index.samples[row]
        try:
            image = read_image(index.read(sample))
        except (ImageReadError, DatasetError):
            return []
        face = detect_labeled_face(image, sample, detector)
        return [] if face is None else degrade(image, face, classifier.manifest.input.size)

    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK].tolist()
            yield from zip(chunk, pool.map(copies, chunk), strict=True)


def degrade(image: np.ndarray, face: Face, input_size: int) -> list[tuple[np.ndarray, Face]]:
    """Return an image and its face, followed by reduced and blurred copies of the face's surroundings.

    Args:
        image: (H, W, 3) uint8 RGB.
        face: a face of the image.
        input_size: side of the model's input, in pixels.
    """
    size = max(1.0, float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).min()))
    left, top = np.floor(face.bbox_xyxy[:2] - size).clip(min=0).astype(int)
    right, bottom = np.ceil(face.bbox_xyxy[2:] + size).astype(int)
    region = image[top:bottom, left:right]
    shift = np.array([left, top], dtype=np.float64)
    copies = [(image, face)]
    for fraction in SCALES:
        scale = fraction * min(size, input_size) / size
        height, width = (max(1, round(side * scale)) for side in region.shape[:2])
        factors = np.array([width / region.shape[1], height / region.shape[0]])
        copies.append((resize(region, (height, width)), _moved(face, shift, factors)))
    for fraction in BLURS:
        blurred = Image.fromarray(region).filter(ImageFilter.GaussianBlur(fraction * size))
        copies.append((np.asarray(blurred), _moved(face, shift, np.ones(2))))
    return copies


def _moved(face: Face, shift: np.ndarray, factors: np.ndarray) -> Face:
    """Return the face after a shift of the origin and a scaling of its image."""
    return replace(
        face,
        bbox_xyxy=(face.bbox_xyxy - np.tile(shift, 2)) * np.tile(factors, 2),
        landmarks_xy=(face.landmarks_xy - shift) * factors,
        mesh_xyz=None,
    )
