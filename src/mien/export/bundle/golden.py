"""Golden tests of a phone bundle: drawn images and the faces that the Python pipeline finds on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from mien.export.face_crops import MOUTH, PHOTOGRAPH, cover
from mien.faces import FittedMesh, LandmarkMesh, MeshOptions, head_pose
from mien.imaging import read_image
from mien.inference.analyzer import Analyzer
from mien.results import Face

TOLERANCES = {
    "boxes": 0.5,
    "landmarks": 0.5,
    "scores": 0.01,
    "probabilities": 0.005,
    "label": 0.0,
    "sharpness": 0.01,
    "mesh": 1.0,
    "presence": 0.01,
    "pose": 1.0,
}
"""Maximum absolute differences of the compared outputs; in pixels, degrees or as shares."""
MESH_OUTPUTS = ("mesh", "presence", "pose")
"""Outputs that are compared in a bundle with the mesh only."""
BLUR = 5
"""Radius in pixels of the blur of the small face."""


@dataclass(frozen=True)
class GoldenImage:
    """An image of the golden tests.

    Attributes:
        name: name of its file, without suffix.
        pixels: (H, W, 3) uint8 RGB.
    """

    name: str
    pixels: np.ndarray


def draw_images(canvas: int) -> list[GoldenImage]:
    """Return a portrait, two faces on an image as wide as the canvas, and an image without faces.

    One of the two is tilted and its mouth is covered, the other is small and blurred, so that their probabilities are
    far from 0 and 1 and change with the pixels.
    """
    portrait = read_image(PHOTOGRAPH)
    background = np.linspace(90, 170, canvas, dtype=np.uint8)
    pair = Image.fromarray(np.broadcast_to(background[:, None], (canvas * 3 // 4, canvas, 3)).copy())
    face = Image.fromarray(portrait)
    large, small = canvas * 2 // 5, canvas // 5
    covered = cover(face, MOUTH)
    pair.paste(covered.resize((large, large)).rotate(10, Image.Resampling.BICUBIC), (canvas // 10, canvas // 8))
    blurred = face.filter(ImageFilter.GaussianBlur(BLUR))
    pair.paste(blurred.resize((small, small)), (canvas * 7 // 10, canvas // 3))
    empty = np.broadcast_to(np.linspace(0, 255, 160, dtype=np.uint8)[:, None, None], (160, 120, 3)).copy()
    return [GoldenImage("portrait", portrait), GoldenImage("pair", np.array(pair)), GoldenImage("empty", empty)]


def expected_results(images: list[GoldenImage], analyzer: Analyzer, mesh: LandmarkMesh | None) -> list[dict[str, Any]]:
    """Return the expected faces of each image, as JSON values.

    Args:
        images: images to analyze.
        analyzer: analyzer that computes in float32; one with `pose` for a bundle with the mesh.
        mesh: the mesh of such a bundle.
    """
    cases = []
    for image in images:
        height, width = image.pixels.shape[:2]
        detected = analyzer.detect(image.pixels, rotated=False)
        faces = analyzer.predict_faces(image.pixels, detected)
        upright = MeshOptions(try_rotations=False)
        meshes = mesh.fit(image.pixels, detected, upright) if mesh else [None] * len(faces)
        entries = [
            {**_describe(found, face), **({} if fit is None else _describe_mesh(fit))}
            for found, face, fit in zip(detected, faces, meshes, strict=True)
        ]
        cases.append({"image": f"{image.name}.rgb", "height": height, "width": width, "faces": entries})
    return cases


def tolerances(*, mesh: bool) -> dict[str, float]:
    """Return the tolerance of every output that is compared."""
    return {name: value for name, value in TOLERANCES.items() if mesh or name not in MESH_OUTPUTS}


def _describe(detected: Face, face: Face) -> dict[str, Any]:
    expression, quality = face.expression, face.quality
    assert expression is not None
    assert quality is not None
    label = expression.label
    return {
        "boxes": _round(detected.bbox_xyxy, 3),
        "landmarks": _round(detected.landmarks_xy, 3),
        "scores": round(detected.confidence, 5),
        "probabilities": _round(expression.probabilities, 6),
        "label": -1 if label is None else expression.labels.index(label),
        "sharpness": round(quality.sharpness, 5),
    }


def _describe_mesh(fit: FittedMesh) -> dict[str, Any]:
    pose = head_pose(fit.mesh_xyz)
    angles = np.array([pose.yaw_deg, pose.pitch_deg, pose.roll_deg])
    return {"mesh": _round(fit.mesh_xyz, 2), "presence": round(fit.presence, 5), "pose": _round(angles, 3)}


def _round(values: np.ndarray, digits: int) -> list[Any]:
    return np.asarray(values, dtype=np.float64).round(digits).tolist()
