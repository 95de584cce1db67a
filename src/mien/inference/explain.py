"""Class-activation maps and region weights for every face of an image.

A map shows what the network used, not why a person feels anything.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.errors import InputError
from mien.faces import FaceDetector, LandmarkMesh
from mien.faces.attributes import measure_faces
from mien.inference.classifier import ExpressionClassifier
from mien.results import ExplainedFace

SIDE = 400
"""Side of `ExplainedFace.image` in pixels."""


def explain_faces(
    classifier: ExpressionClassifier,
    detector: FaceDetector,
    image: np.ndarray,
    *,
    mesh: LandmarkMesh | None = None,
    label: str | None = None,
) -> list[ExplainedFace]:
    """Find the faces of an image and explain the reading of each, the largest first.

    Args:
        classifier: of a model file that gives maps.
        detector: finds the faces.
        image: (H, W, 3) uint8 RGB.
        mesh: straightens faces that lie on their side, as `Analyzer` does; None takes them as the detector has them.
        label: the class to explain; None takes each face's most probable one.

    Raises:
        InputError: when the model has no such class.
        ModelError: when the model file gives no maps.
    """
    labels = classifier.manifest.labels
    if label is not None and label not in labels:
        raise InputError(f"the model has no class {label!r}. Give one of: {', '.join(labels)}.")
    faces, size = (
        measure_faces(image, detector.detect(image, rotated=True), mesh),
        classifier.manifest.input.size,
    )
    crops = [classifier.crop(image, face) for face in faces]
    explanations = classifier.explain(
        np.array(crops, dtype=np.uint8).reshape(-1, size, size, 3),
        qualities=[face.quality for face in faces],
    )
    return [
        ExplainedFace(
            face=replace(face, expression=explanation.expression),
            image=classifier.crop(image, face, size=SIDE),
            explanation=explanation,
            label=label or labels[int(explanation.expression.probabilities.argmax())],
        )
        for face, explanation in zip(faces, explanations, strict=True)
    ]
