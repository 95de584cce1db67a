"""Explanations of predictions: class-activation maps and effects of hidden regions for every face of an image.

A map shows what the network used, not why a person feels anything.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.errors import InputError
from mien.imaging import ImageSource, read_image
from mien.inference.analyzer import Analyzer
from mien.inference.reduced import enlarge_face, read_detailed
from mien.results import ExplainedFace, with_expression
from mien.runtime import DEFAULT_MODEL

SIDE = 400
"""Side of `ExplainedFace.image` in pixels."""


def explain(
    image: ImageSource,
    *,
    model: str | Path = DEFAULT_MODEL,
    analyzer: Analyzer | None = None,
    device: str = "auto",
    label: str | None = None,
) -> list[ExplainedFace]:
    """Detect the faces of an image and explain the prediction for each, the largest first.

    Args:
        image: a path, the bytes of a file, an open binary file, a Pillow image, or (H, W, 3) uint8 RGB pixels.
        model: name of a shipped model, or path of an `.onnx` file with class-activation maps; ignored when an analyzer
            is given.
        analyzer: the analyzer to use; by default a new one of `model`.
        device: see `Analyzer`; ignored when an analyzer is given.
        label: the class to explain; by default the most probable class of each face.

    Raises:
        ImageReadError: if the file is missing, broken, too large or not an image.
        InputError: if the model has no such class.
        ModelError: if the model file has no maps.
        DeviceError: if the named device is not available.

    Example:
        >>> from mien.drawing.explanation import draw_explanations
        >>> faces = explain("photo.jpg", label="anger")  # doctest: +SKIP
        >>> overlay = draw_explanations(faces)  # doctest: +SKIP
    """
    analyzer = analyzer or Analyzer(model, device=device)
    classifier = analyzer.classifier
    labels = classifier.manifest.labels
    if label is not None and label not in labels:
        raise InputError(f"the model has no class {label!r}; expected one of {', '.join(labels)}.")
    options = analyzer.options
    decoded, detected = read_detailed(image, analyzer.detect, options, color=options.color)
    faces, crops = analyzer.crop_faces(decoded.pixels, detected)
    faces = [enlarge_face(face, decoded.scale) for face in faces]
    # the displayed crops have the detail of the whole image
    pixels = decoded.pixels if decoded.scale == 1 else read_image(image, max_pixels=options.max_pixels)
    size = classifier.manifest.input.size
    explanations = classifier.explain(
        np.array(crops, dtype=np.uint8).reshape(-1, size, size, 3),
        qualities=[face.quality for face in faces],
        flip_tta=options.flip_tta,
        max_error=options.max_error,
        prior=options.prior,
    )
    classified = [with_expression(face, one.expression) for face, one in zip(faces, explanations, strict=True)]
    return [
        ExplainedFace(
            face=face,
            image=classifier.crop(pixels, face, size=SIDE),
            explanation=replace(explanation, expression=face.expression),
            label=label or labels[int(explanation.expression.probabilities.argmax())],
        )
        for face, explanation in zip(classified, explanations, strict=True)
    ]
