"""The landmark mesh: 478 points in space on every face, by MediaPipe's network on ONNX Runtime."""

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
OUTER_EYES = [33, 263]
"""Mesh points at the outer corners of the subject's right and left eye."""
CROP_SIDE = 1.5
"""Side of the square that the network sees, in longer sides of the detector's box."""
LEAST_PRESENCE = 0.5
"""Below this probability the network saw no face, and its points mean nothing."""
LEVEL_DEG = 6.0
"""A face whose eyes the mesh finds more tilted than this in the crop is fitted again, levelled by it."""
BATCH = 16
"""Faces that go through the network together; a crowd takes no more memory than this many."""


@dataclass(frozen=True, kw_only=True)
class FittedMesh:
    """A mesh laid on one face.

    Attributes:
        mesh_xyz: (478, 3) float32. x and y are pixels of the original picture; z is depth in pixels of the
            same length, smaller towards the camera, with its zero near the middle of the head.
        presence: probability that the crop shows a face at all, 0..1. Whole faces, profiles too, reach 0.99.
    """

    mesh_xyz: np.ndarray
    presence: float


class LandmarkMesh:
    """Lays the 478-point mesh on faces that a detector has found; safe to call from many threads.

    Args:
        threads: of ONNX Runtime; 0 lets it choose.

    Source:
        Kartynnik and others (2019), "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs",
        and its attention mesh successor with irises. YuNet places the eyes of some tilted heads too level (4
        degrees where 30 are true), hence the second pass for these.
    """

    def __init__(self, threads: int = 0) -> None:
        model = load_model("face-landmarks", task="face-landmarks", threads=threads)
        self._session, self._size = model.session, model.manifest.input.size
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()[:2]]

    def fit(
        self, image: np.ndarray, faces: Sequence[Face], *, level_deg: float = LEVEL_DEG
    ) -> list[FittedMesh | None]:
        """The mesh of every face in an image (H, W, 3) uint8 RGB, in order; None where it does not fit.

        A face whose eyes lie `level_deg` off what the detector said is fitted twice.
        """
        check_image(image)
        meshes: list[FittedMesh | None] = []
        for start in range(0, len(faces), BATCH):
            meshes += self._fit_batch(image, faces[start : start + BATCH], level_deg)
        return meshes

    def _fit_batch(
        self, image: np.ndarray, faces: Sequence[Face], level_deg: float
    ) -> list[FittedMesh | None]:
        eyes = [face.landmarks_xy[:2] for face in faces]
        meshes = self._run(image, faces, eyes)
        eyes = [
            old if mesh is None else mesh.mesh_xyz[OUTER_EYES, :2]
            for mesh, old in zip(meshes, eyes, strict=True)
        ]
        tilted = [
            place
            for place, face in enumerate(faces)
            if abs(_angle_between(face.landmarks_xy[:2], eyes[place])) > math.radians(level_deg)
        ]
        if tilted:
            again = self._run(image, [faces[place] for place in tilted], [eyes[place] for place in tilted])
            for place, mesh in zip(tilted, again, strict=True):
                meshes[place] = mesh or meshes[place]
        return meshes

    def _run(
        self, image: np.ndarray, faces: Sequence[Face], eyes: list[np.ndarray]
    ) -> list[FittedMesh | None]:
        size = self._size
        matrices = [
            mesh_crop_matrix(face.bbox_xyxy, two, size) for face, two in zip(faces, eyes, strict=True)
        ]
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


def mesh_crop_matrix(bbox_xyxy: np.ndarray, eyes_xy: np.ndarray, size: int) -> np.ndarray:
    """The (2, 3) similarity from picture to crop pixels: centred on the box, the eyes (2, 2) level."""
    box = bbox_xyxy.astype(np.float64)
    angle = _tilt(eyes_xy)
    scale = size / (CROP_SIDE * max(box[2] - box[0], box[3] - box[1], 1.0))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, sin], [-sin, cos]])
    centre = (box[:2] + box[2:]) / 2
    return np.column_stack([linear, size / 2 - linear @ centre])


def _tilt(eyes_xy: np.ndarray) -> float:
    """Angle in radians of the line from the subject's right eye to the left, clockwise in the picture."""
    x, y = (eyes_xy[1] - eyes_xy[0]).astype(np.float64)
    return math.atan2(y, x)


def _angle_between(first_xy: np.ndarray, second_xy: np.ndarray) -> float:
    """Angle in radians from one pair of eyes to another, -pi..pi."""
    return math.remainder(_tilt(second_xy) - _tilt(first_xy), math.tau)


def _to_picture(xyz: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Crop points back in the picture; depth is scaled as the plane is."""
    back = invert(matrix)
    depth = xyz[:, 2] * math.hypot(back[0, 0], back[1, 0])
    return np.column_stack([transform_points(back, xyz[:, :2]), depth]).astype(np.float32)
