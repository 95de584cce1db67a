"""The landmark mesh: 478 points in space on every face, from MediaPipe's face mesh network on ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.geometry import invert, transform_points
from mien.imaging import check_image, warp
from mien.results import Face
from mien.runtime import load_model

POINTS = 478
CROP_SIDE = 1.5
"""Side of the square that the network sees, in longer sides of the detector's box."""
LEAST_PRESENCE = 0.5
"""Below this probability the network saw no face, and its points mean nothing."""
BATCH = 16
"""Faces that go through the network together; a crowd takes no more memory than this many."""


@dataclass(frozen=True, kw_only=True)
class FittedMesh:
    """A mesh laid on one face.

    Attributes:
        mesh_xyz: (478, 3) float32. x and y are pixels of the original picture; z is depth in pixels of the same length,
            smaller towards the camera, with its zero near the middle of the head.
        presence: probability that the crop shows a face at all, 0..1. Whole faces, profiles too, reach 0.99.
    """

    mesh_xyz: np.ndarray
    presence: float


class LandmarkMesh:
    """Lays the 478-point mesh on faces that a detector has found; safe to call from many threads.

    Args:
        threads: of ONNX Runtime; 0 lets it choose.

    Source:
        Kartynnik and others (2019), "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", and its
        attention mesh successor with irises. One pass from the detector's box, where MediaPipe follows its own mesh.
    """

    def __init__(self, threads: int = 0) -> None:
        model = load_model("face-landmarks", task="face-landmarks", threads=threads)
        self._session, self._size = model.session, model.manifest.input.size
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()[:2]]

    def fit(self, image: np.ndarray, faces: Sequence[Face]) -> list[FittedMesh | None]:
        """The mesh of every face in an image (H, W, 3) uint8 RGB, in order; None where it does not fit."""
        check_image(image)
        meshes: list[FittedMesh | None] = []
        for start in range(0, len(faces), BATCH):
            meshes += self._fit_batch(image, faces[start : start + BATCH])
        return meshes

    def _fit_batch(self, image: np.ndarray, faces: Sequence[Face]) -> list[FittedMesh | None]:
        size = self._size
        matrices = [mesh_crop_matrix(face, size) for face in faces]
        crops = np.stack([warp(image, matrix, (size, size)) for matrix in matrices])
        outputs = self._session.run(self._outputs, {self._input: crops.astype(np.float32) / np.float32(255)})
        points, presence_logits = (np.asarray(output) for output in outputs)
        points = points.reshape(-1, POINTS, 3)
        presences = 1 / (1 + np.exp(-presence_logits.reshape(-1).astype(np.float64)))
        return [
            FittedMesh(mesh_xyz=_to_picture(xyz, matrix), presence=float(presence))
            if presence >= LEAST_PRESENCE
            else None
            for xyz, matrix, presence in zip(points, matrices, presences, strict=True)
        ]


def mesh_crop_matrix(face: Face, size: int) -> np.ndarray:
    """The (2, 3) similarity from picture pixels to the network's crop: centred on the box, the line of the eyes level."""
    box = face.bbox_xyxy.astype(np.float64)
    right_eye, left_eye = face.landmarks_xy[:2].astype(np.float64)
    angle = math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])
    scale = size / (CROP_SIDE * max(box[2] - box[0], box[3] - box[1], 1.0))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, sin], [-sin, cos]])
    centre = (box[:2] + box[2:]) / 2
    return np.column_stack([linear, size / 2 - linear @ centre])


def _to_picture(xyz: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Crop points back in the picture; depth is scaled as the plane is."""
    back = invert(matrix)
    depth = xyz[:, 2] * math.hypot(back[0, 0], back[1, 0])
    return np.column_stack([transform_points(back, xyz[:, :2]), depth]).astype(np.float32)
