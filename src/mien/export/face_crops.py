"""Faces to calibrate and compare converted models on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from mien.datasets.index import Index
from mien.errors import DatasetError
from mien.evaluation.predictions import predict_dataset
from mien.faces import FaceDetector
from mien.imaging import read_image
from mien.inference.classifier import ExpressionClassifier
from mien.progress import Progress
from mien.runtime import ASSETS

PHOTOGRAPH = ASSETS / "self-test.jpg"
"""Image of one face that the package contains."""
MOUTH = (71, 115, 148, 155)
"""Box of the mouth in `PHOTOGRAPH`: left, top, right, bottom in pixels."""
EYES = (60, 68, 160, 98)
"""Box of the eyes in `PHOTOGRAPH`: left, top, right, bottom in pixels."""
SKIN_RGB = (150, 110, 95)
"""Color of the boxes that cover parts of a face."""
BLUR = 6
"""Radius in pixels of the blur of a generated face."""
MAX_ROTATION_DEG = 20.0
MAX_SHIFT = 0.1
"""Maximum shift of a generated face, as a fraction of its width."""


class FaceCrops(NamedTuple):
    """Inputs of a model.

    Attributes:
        crops: (N, S, S, 3) uint8.
        origin: where they come from, for reports.
    """

    crops: np.ndarray
    origin: str

    def batches(self) -> list[np.ndarray]:
        """Return one input (1, 3, S, S) float32 per face."""
        return [np.ascontiguousarray(crop[None].transpose(0, 3, 1, 2), dtype=np.float32) for crop in self.crops]


def draw_faces(model: Path, index: Index, count: int, *, progress: Progress | None = None) -> FaceCrops:
    """Crop faces of a split, drawn at random, at most `count`.

    Raises:
        DatasetError: if no face can be read.
    """
    crops = draw_crops(model, index, count, progress=progress)
    if not crops:
        raise DatasetError(f"{index.root}: no face can be read; check the images with `mien data check`.")
    return FaceCrops(np.stack(crops), f"{len(crops)} faces of {index.name}/{index.split}")


def draw_crops(model: Path, index: Index, count: int, *, progress: Progress | None = None) -> list[np.ndarray]:
    """Return the crops (S, S, 3) uint8 of at most `count` faces, drawn at random, without unreadable ones."""
    rows = np.sort(np.random.default_rng(0).permutation(len(index.samples))[:count])
    drawn = replace(index, samples=tuple(index.samples[row] for row in rows))
    predictions = predict_dataset(ExpressionClassifier(model, threads=1, device="cpu"), drawn, progress=progress)
    return [predictions.crop(int(row)) for row in np.flatnonzero(np.isfinite(predictions.logits).all(axis=1))]


def generate_faces(model: Path, count: int) -> FaceCrops:
    """Rotate, shift, mirror, and change the contrast and brightness of the photograph that the package contains.

    In three of four faces the mouth is covered, mouth and eyes are, or all is blurred: the probabilities of the
    original are so near 0 and 1 that not even exchanged colors change them.
    """
    classifier = ExpressionClassifier(model, threads=1, device="cpu")
    image = read_image(PHOTOGRAPH)
    face = FaceDetector(threads=1, device="cpu").detect(image)[0]
    photograph = Image.fromarray(image)
    images = (
        photograph,
        cover(photograph, MOUTH),
        photograph.filter(ImageFilter.GaussianBlur(BLUR)),
        cover(photograph, MOUTH, EYES),
    )
    crops = [classifier.crop(np.asarray(variant), face) for variant in images]
    rng = np.random.default_rng(0)
    varied = np.stack([_vary(crops[number % len(crops)], rng) for number in range(count)])
    return FaceCrops(varied, f"{count} variants of one photograph")


def cover(image: Image.Image, *boxes: tuple[int, int, int, int]) -> Image.Image:
    """Return a copy of an image with filled boxes (left, top, right, bottom in pixels)."""
    covered = image.copy()
    for box in boxes:
        covered.paste(SKIN_RGB, box)
    return covered


def _vary(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = len(crop)
    shift = tuple(rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * size)
    rotated = Image.fromarray(crop).rotate(
        rng.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG), Image.Resampling.BILINEAR, translate=shift
    )
    pixels = np.asarray(rotated, dtype=np.float32)[:, :: rng.choice([-1, 1])]
    changed = (pixels - 128) * rng.uniform(0.5, 1.3) + 128 + rng.uniform(-40, 40)
    return changed.clip(0, 255).astype(np.uint8)
