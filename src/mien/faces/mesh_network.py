"""A network that locates the 478 landmarks of a face in a crop, on ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.devices import Precision
from mien.geometry import invert, transform_points
from mien.imaging import warp
from mien.results import Face
from mien.runtime import load_model

POINTS = 478
OUTER_EYES = [33, 263]
"""Mesh points at the outer corners of the subject's right and left eye."""
CROP_SCALE = 1.5
"""Side of the network's square crop, in longer sides of the detector's box."""
BATCH = 16
"""Maximum number of faces per run of the network; bounds memory for crowds."""


@dataclass(frozen=True)
class CropFit:
    """Mesh of one crop.

    Attributes:
        mesh_xyz: (478, 3) float32 in image pixels.
        logit: presence of a face.
        crop_eyes_xy: the eyes (2, 2) that leveled the crop.
    """

    mesh_xyz: np.ndarray
    logit: float
    crop_eyes_xy: np.ndarray

    @property
    def eyes_xy(self) -> np.ndarray:
        """The outer corners of the mesh's eyes (2, 2)."""
        return self.mesh_xyz[OUTER_EYES, :2]

    @property
    def tilt(self) -> float:
        """Angle in radians from the eyes that leveled the crop to those of the mesh, -pi..pi."""
        return angle_between(self.crop_eyes_xy, self.eyes_xy)


class MeshNetwork:
    """Predicts the mesh of crops; thread-safe.

    Args:
        name: name of a shipped model, or path of an `.onnx` file, for the task "face-landmarks".
        threads: ONNX Runtime threads; 0 lets it choose.
        device: where the network runs; see `mien.runtime.open_session`.
        precision: float32 or int8 arithmetic; see `mien.runtime.load_model`.

    Attributes:
        network: the loaded model file.

    Raises:
        ModelError: when the model is unknown or broken.
    """

    def __init__(self, name: str, threads: int = 0, *, device: str = "auto", precision: Precision = "auto") -> None:
        self.network = load_model(name, task="face-landmarks", threads=threads, device=device, precision=precision)
        self._size = self.network.manifest.input.size
        self._input = self.network.session.get_inputs()[0].name
        self._outputs = [output.name for output in self.network.session.get_outputs()[:2]]

    def predict(self, image: np.ndarray, faces: Sequence[Face], eyes: Sequence[np.ndarray]) -> list[CropFit]:
        """Return the mesh of one crop per face, in order.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: detected faces; their boxes are used.
            eyes: eyes (2, 2) of every face in image pixels; they become level in the crop.
        """
        fits: list[CropFit] = []
        for start in range(0, len(faces), BATCH):
            batch_eyes = eyes[start : start + BATCH]
            matrices = [
                mesh_crop_matrix(face.bbox_xyxy, eyes_xy, self._size)
                for face, eyes_xy in zip(faces[start : start + BATCH], batch_eyes, strict=True)
            ]
            outputs = zip(*self.predict_crops(image, matrices), matrices, batch_eyes, strict=True)
            fits += [
                CropFit(map_mesh(xyz, invert(matrix)).astype(np.float32), float(logit), eyes_xy)
                for xyz, logit, matrix, eyes_xy in outputs
            ]
        return fits

    def predict_crops(self, image: np.ndarray, matrices: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the meshes (N, 478, 3) in crop pixels and presence logits (N,) of crops of an image, in one batch.

        Args:
            image: (H, W, 3) uint8 RGB.
            matrices: N transforms (2, 3) from image to crop pixels.
        """
        crops = np.stack([warp(image, matrix, (self._size, self._size)) for matrix in matrices])
        points, logits = self.network.run(self._outputs, {self._input: crops})
        return points.reshape(-1, POINTS, 3), logits.reshape(-1)


def mesh_crop_matrix(bbox_xyxy: np.ndarray, eyes_xy: np.ndarray, size: int) -> np.ndarray:
    """Return the (2, 3) similarity from image to crop pixels: centered on the box, with the eyes (2, 2) level."""
    x1, y1, x2, y2 = bbox_xyxy.tolist()
    angle = _tilt(eyes_xy)
    scale = size / (CROP_SCALE * max(x2 - x1, y2 - y1, 1.0))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return np.array([[cos, sin, size / 2 - (cos * x + sin * y)], [-sin, cos, size / 2 - (cos * y - sin * x)]])


def angle_between(first_xy: np.ndarray, second_xy: np.ndarray) -> float:
    """Return the angle in radians from one pair of eyes (2, 2) to another, -pi..pi."""
    return math.remainder(_tilt(second_xy) - _tilt(first_xy), math.tau)


def _tilt(eyes_xy: np.ndarray) -> float:
    """Return the angle in radians of the line from the subject's right eye to the left, clockwise in the image."""
    x, y = (eyes_xy[1] - eyes_xy[0]).astype(np.float64)
    return math.atan2(y, x)


def map_mesh(mesh_xyz: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map a mesh (478, 3) by a similarity (2, 3); depth is scaled like the plane."""
    depth = mesh_xyz[:, 2:] * math.hypot(matrix[0, 0], matrix[1, 0])
    return np.concatenate([transform_points(matrix, mesh_xyz[:, :2]), depth], axis=1)
