"""`mien explain`: where a model looked when it read the faces of an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.runtime import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.results import ExplainedFace


def explain(
    image: Path,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    model: str = DEFAULT_MODEL,
    label: str | None = None,
    min_confidence: float = 0.6,
    detector_size: int = 640,
    threads: int = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Draw where a model looked when it read the faces of an image.

    Every face gets its class-activation map (bright places speak for the class), the probabilities and, when the model
    weighs regions of the face, their weights. A map shows what the network used, not why a person feels anything.

    Args:
        image: a photograph.
        output: the drawing to write (default: NAME-explained.png in this folder; with --json none).
        model: a shipped model's name, or the path of an .onnx file that gives maps.
        label: the class to explain (default: the most probable one of each face).
        min_confidence: least confidence of the face detector, 0..1.
        detector_size: long side in pixels at which faces are searched; 1280 finds smaller ones, more slowly.
        threads: of the networks; 0 lets them choose.
        as_json: print the expressions, maps and weights as one JSON object and nothing else.
    """
    from mien.cli.outputs import check_image_name, save_image
    from mien.drawing.explanation import draw_explanations
    from mien.faces import FaceDetector, LandmarkMesh
    from mien.imaging import read_image
    from mien.inference.classifier import ExpressionClassifier
    from mien.inference.explain import explain_faces

    target = output or (None if as_json else Path(f"{image.stem}-explained.png"))
    if target is not None:
        check_image_name(target, source=image)
    classifier = ExpressionClassifier(model, threads=threads)
    detector = FaceDetector(max_size=detector_size, min_confidence=min_confidence, threads=threads)
    mesh = LandmarkMesh(threads=threads)
    faces = explain_faces(classifier, detector, read_image(image), mesh=mesh, label=label)
    if target is not None and faces:
        save_image(draw_explanations(faces, classifier.manifest.regions), target)
    if as_json:
        print(json.dumps({"image": str(image), "faces": [face.to_dict() for face in faces]}))
    elif not faces:
        print(f"{image}: no face found")
    else:
        _print(faces, str(target))


def _print(faces: list[ExplainedFace], target: str) -> None:
    for number, face in enumerate(faces, start=1):
        print(f"face {number}: {_told(face)}")
    print(target)


def _told(face: ExplainedFace) -> str:
    expression, weights = face.explanation.expression, face.explanation.region_weights
    told = f"{expression.label or 'not sure'} {expression.confidence:.0%}"
    return told + "".join(f", {name} {weight:.0%}" for name, weight in weights.items())
