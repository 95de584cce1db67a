"""Face mesh of 478 three-dimensional landmarks: MediaPipe's network on ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.devices import Precision
from mien.geometry import invert, transform_points
from mien.imaging import check_image, warp
from mien.results import Face
from mien.runtime import load_model

POINTS = 478
OUTER_EYES = [33, 263]
"""Mesh points at the outer corners of the subject's right and left eye."""
DETECTOR_LANDMARKS = [468, 473, 4, 61, 291]
"""Mesh points that correspond to a detector's five landmarks: irises, nose tip, mouth corners."""
CROP_SCALE = 1.5
"""Side of the network's square crop, in longer sides of the detector's box."""
MIN_LOGIT = 0.0
"""Minimum presence logit of a face; below it the mesh is meaningless."""
MAX_TILT_DEG = 6.0
"""Maximum tilt of the mesh's eyes in the crop; a face above it is fitted again, leveled by those eyes."""
MAX_PASSES = 6
"""Maximum number of fits of one face; the tilt of a face rotated by 90 degrees is approached in steps."""
CONFIDENT_LOGIT = 8.0
"""Presence logit from which a mesh counts as upright. Rotated portraits: 6..30 upright, else above 7 in 1 of 60."""
ROTATIONS = ((5.0, (45.0, -45.0)), (10.0, (180.0, 90.0, -90.0, 135.0, -135.0)))
"""Rotations to try, in degrees, each group with its minimum presence logit.

Upright faces that are hard to see are more common than upside-down faces, and a wrongly rotated mesh reaches 9 on some
of them.
"""
MIN_LOGIT_MARGIN = 3.0
"""Minimum margin, in logits, by which a rotated fit must win."""
MIN_ROTATED_SIZE_PX = 32.0
"""Minimum longer side of a box that is fitted rotated; smaller faces, as in crowds, are unclear at any angle."""
BATCH = 16
"""Maximum number of faces per run of the network; bounds memory for crowds."""


@dataclass(frozen=True, kw_only=True)
class FittedMesh:
    """Mesh fitted to one face.

    Attributes:
        mesh_xyz: (478, 3) float32. x and y are pixels of the original image; z is depth in pixels of the
            same length, smaller towards the camera, zero near the middle of the head.
        presence: probability that the crop contains a face, 0..1; clearly visible faces, profiles included, reach 0.99.
        rotation_deg: angle from the detector's eye line to the mesh's, clockwise in the image, -180..180. Detectors
            mistake faces on their side or upside down for upright ones.
    """

    mesh_xyz: np.ndarray
    presence: float
    rotation_deg: float

    @property
    def landmarks_xy(self) -> np.ndarray:
        """The mesh points (5, 2) float32 that correspond to a detector's landmarks."""
        return self.mesh_xyz[DETECTOR_LANDMARKS, :2]


@dataclass(frozen=True)
class MeshSearch:
    """Mesh of one face, or None where it does not fit, and the highest presence logit of all crops that were tried."""

    mesh: FittedMesh | None
    best_logit: float


@dataclass(frozen=True)
class _CropFit:
    """Mesh (478, 3) of one crop, in image pixels, its presence logit, and the eyes (2, 2) that leveled the crop."""

    mesh_xyz: np.ndarray
    logit: float
    crop_eyes_xy: np.ndarray

    @property
    def is_present(self) -> bool:
        return self.logit >= MIN_LOGIT

    @property
    def eyes_xy(self) -> np.ndarray:
        return self.mesh_xyz[OUTER_EYES, :2]


class LandmarkMesh:
    """Fits the 478-point mesh to detected faces; thread-safe.

    Args:
        threads: ONNX Runtime threads; 0 lets it choose.
        device: where the network runs; see `mien.runtime.open_session`.
        precision: float32 or int8 arithmetic; see `mien.runtime.load_model`.

    Attributes:
        network: the loaded model file.

    Source:
        Kartynnik and others (2019), "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs",
        and its attention mesh successor with irises. YuNet underestimates the tilt of heads (4 degrees for 30) and
        reports upside-down heads as upright; hence the repeated and rotated fits.
    """

    def __init__(self, threads: int = 0, *, device: str = "auto", precision: Precision = "auto") -> None:
        self.network = load_model(
            "face-landmarks", task="face-landmarks", threads=threads, device=device, precision=precision
        )
        self._size = self.network.manifest.input.size
        self._input = self.network.session.get_inputs()[0].name
        self._outputs = [output.name for output in self.network.session.get_outputs()[:2]]

    def fit(
        self, image: np.ndarray, faces: Sequence[Face], *, max_tilt_deg: float = MAX_TILT_DEG, rotated: bool = True
    ) -> list[FittedMesh | None]:
        """Return the mesh of every face, in order; None where it does not fit. See `search` for the arguments."""
        searches = self.search(image, faces, max_tilt_deg=max_tilt_deg, rotated=rotated)
        return [search.mesh for search in searches]

    def search(
        self, image: np.ndarray, faces: Sequence[Face], *, max_tilt_deg: float = MAX_TILT_DEG, rotated: bool = True
    ) -> list[MeshSearch]:
        """Fit the mesh to every face, in order.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: detected faces; their boxes and eyes are used.
            max_tilt_deg: maximum tilt of the mesh's eyes in the crop before the face is fitted again.
            rotated: also try rotated crops for poor fits among the `BATCH` largest faces.
        """
        check_image(image)
        largest_first = sorted(range(len(faces)), key=lambda index: -_side(faces[index]))
        searches: dict[int, MeshSearch] = {}
        for start in range(0, len(faces), BATCH):
            batch = largest_first[start : start + BATCH]
            found = self._search_batch(image, [faces[index] for index in batch], max_tilt_deg, rotated and start == 0)
            searches.update(zip(batch, found, strict=True))
        return [searches[index] for index in range(len(faces))]

    def _search_batch(
        self, image: np.ndarray, faces: Sequence[Face], max_tilt_deg: float, rotated: bool
    ) -> list[MeshSearch]:
        eyes = [face.landmarks_xy[:2].astype(np.float64) for face in faces]
        fits = self._refine(image, faces, self._predict(image, faces, eyes), max_tilt_deg)
        logits = [fit.logit for fit in fits]
        large = [index for index, face in enumerate(faces) if _side(face) >= MIN_ROTATED_SIZE_PX]
        for min_logit, angles_deg in ROTATIONS if rotated else ():
            unsure = [index for index in large if fits[index].logit < CONFIDENT_LOGIT]
            candidates = [self._best_rotation(image, faces[index], eyes[index], angles_deg) for index in unsure]
            refined = self._refine(image, [faces[index] for index in unsure], candidates, max_tilt_deg)
            for index, fit in zip(unsure, refined, strict=True):
                logits[index] = max(logits[index], fit.logit)
                if fit.logit >= max(min_logit, fits[index].logit + MIN_LOGIT_MARGIN):
                    fits[index] = fit
        meshes = [
            FittedMesh(
                mesh_xyz=fit.mesh_xyz,
                presence=1 / (1 + math.exp(-fit.logit)),
                rotation_deg=math.degrees(_angle_between(detector_eyes_xy, fit.eyes_xy)),
            )
            if fit.is_present
            else None
            for detector_eyes_xy, fit in zip(eyes, fits, strict=True)
        ]
        return [MeshSearch(mesh, logit) for mesh, logit in zip(meshes, logits, strict=True)]

    def _best_rotation(
        self, image: np.ndarray, face: Face, eyes_xy: np.ndarray, angles_deg: Sequence[float]
    ) -> _CropFit:
        """Return the most confident fit over crops rotated by each angle."""
        eyes = [_rotate(eyes_xy, angle_deg) for angle_deg in angles_deg]
        return max(self._predict(image, [face] * len(eyes), eyes), key=lambda fit: fit.logit)

    def _refine(
        self, image: np.ndarray, faces: Sequence[Face], fits: Sequence[_CropFit], max_tilt_deg: float
    ) -> list[_CropFit]:
        """Repeat the fits until the mesh is upright in the crop or the face is lost."""
        fits = list(fits)
        max_tilt = math.radians(max_tilt_deg)
        pending = list(range(len(faces)))
        for _ in range(MAX_PASSES - 1):
            pending = [
                index
                for index in pending
                if fits[index].is_present
                and abs(_angle_between(fits[index].crop_eyes_xy, fits[index].eyes_xy)) > max_tilt
            ]
            refits = self._predict(
                image, [faces[index] for index in pending], [fits[index].eyes_xy for index in pending]
            )
            improved = {index: fit for index, fit in zip(pending, refits, strict=True) if fit.is_present}
            for index, fit in improved.items():
                fits[index] = fit
            pending = list(improved)
        return fits

    def _predict(self, image: np.ndarray, faces: Sequence[Face], eyes: Sequence[np.ndarray]) -> list[_CropFit]:
        """Run the network on one crop per face, leveled by the given eyes (2, 2)."""
        fits: list[_CropFit] = []
        for start in range(0, len(faces), BATCH):
            batch_eyes = eyes[start : start + BATCH]
            matrices = [
                mesh_crop_matrix(face.bbox_xyxy, eyes_xy, self._size)
                for face, eyes_xy in zip(faces[start : start + BATCH], batch_eyes, strict=True)
            ]
            crops = np.stack([warp(image, matrix, (self._size, self._size)) for matrix in matrices])
            points, logits = self.network.run(self._outputs, {self._input: crops})
            outputs = zip(points.reshape(-1, POINTS, 3), logits.reshape(-1), matrices, batch_eyes, strict=True)
            fits += [_CropFit(_to_image(xyz, matrix), float(logit), eyes_xy) for xyz, logit, matrix, eyes_xy in outputs]
        return fits


def _side(face: Face) -> float:
    """Return the longer side of a face's box."""
    return float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())


def mesh_crop_matrix(bbox_xyxy: np.ndarray, eyes_xy: np.ndarray, size: int) -> np.ndarray:
    """Return the (2, 3) similarity from image to crop pixels: centered on the box, with the eyes (2, 2) level."""
    x1, y1, x2, y2 = bbox_xyxy.tolist()
    angle = _tilt(eyes_xy)
    scale = size / (CROP_SCALE * max(x2 - x1, y2 - y1, 1.0))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return np.array([[cos, sin, size / 2 - (cos * x + sin * y)], [-sin, cos, size / 2 - (cos * y - sin * x)]])


def _tilt(eyes_xy: np.ndarray) -> float:
    """Return the angle in radians of the line from the subject's right eye to the left, clockwise in the image."""
    x, y = (eyes_xy[1] - eyes_xy[0]).astype(np.float64)
    return math.atan2(y, x)


def _rotate(eyes_xy: np.ndarray, angle_deg: float) -> np.ndarray:
    """Rotate the eyes (2, 2) about their midpoint, clockwise in the image."""
    angle, midpoint = math.radians(angle_deg), eyes_xy.mean(axis=0)
    cos, sin = math.cos(angle), math.sin(angle)
    return (eyes_xy - midpoint) @ np.array([[cos, sin], [-sin, cos]]) + midpoint


def _angle_between(first_xy: np.ndarray, second_xy: np.ndarray) -> float:
    """Return the angle in radians from one pair of eyes to another, -pi..pi."""
    return math.remainder(_tilt(second_xy) - _tilt(first_xy), math.tau)


def _to_image(xyz: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Map crop points (N, 3) to image pixels; depth is scaled like the plane."""
    to_image = invert(matrix)
    mapped = np.empty(xyz.shape, dtype=np.float32)
    mapped[:, :2] = transform_points(to_image, xyz[:, :2])
    mapped[:, 2] = xyz[:, 2] * math.hypot(to_image[0, 0], to_image[1, 0])
    return mapped
