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
FIVE = [468, 473, 4, 61, 291]
"""Mesh points where a detector's five landmarks lie: irises, nose tip, mouth corners."""
CROP_SIDE = 1.5
"""Side of the square that the network sees, in longer sides of the detector's box."""
MIN_LOGIT = 0.0
"""Of presence: below it the network saw no face, and its points mean nothing."""
MAX_TILT_DEG = 6.0
"""A face whose eyes the mesh finds more tilted than this in the crop is fitted again, levelled by it ..."""
PASSES = 6
"""... up to so many times in all: a mesh creeps towards the tilt of a face that lies on its side."""
SURE_LOGIT = 8.0
"""Of presence: a mesh that reaches it lies the right way up. Turned portraits give 6 to 30 the right way up, and more
than 7 the wrong way up in one of 60."""
TURNS_DEG = ((5.0, (45.0, -45.0)), (10.0, (180.0, 90.0, -90.0, 135.0, -135.0)))
"""How a face may lie that the detector takes for an upright one, and what presence a mesh so rotated has to reach.
Upright faces that are hard to see are commoner than faces upside down, and such a mesh reaches 9 on some of them."""
AHEAD_LOGIT = 3.0
"""By so much the presence of a rotated mesh has to be higher than that of the other."""
MIN_TURNED_PX = 32.0
"""Minimum longer side, in pixels, of a box that is also fitted rotated; smaller faces are hard to see at any angle."""
BATCH = 16
"""Faces that go through the network together; a crowd takes no more memory than this many."""


@dataclass(frozen=True, kw_only=True)
class FittedMesh:
    """A mesh laid on one face.

    Attributes:
        mesh_xyz: (478, 3) float32. x and y are pixels of the original image; z is depth in pixels of the
            same length, smaller towards the camera, with its zero near the middle of the head.
        presence: probability that the crop shows a face at all, 0..1. Whole faces, profiles too, reach 0.99.
        rotation_deg: from the line of the eyes as the detector has it to the mesh's, clockwise in the image, -180..180.
            A detector takes faces on their side or upside down for upright ones.
    """

    mesh_xyz: np.ndarray
    presence: float
    rotation_deg: float

    @property
    def landmarks_xy(self) -> np.ndarray:
        """(5, 2) float32: the points of the mesh where a detector's landmarks lie."""
        return self.mesh_xyz[FIVE, :2]


@dataclass(frozen=True)
class _Fit:
    mesh_xyz: np.ndarray
    logit: float

    @property
    def is_there(self) -> bool:
        return self.logit >= MIN_LOGIT

    @property
    def eyes_xy(self) -> np.ndarray:
        return self.mesh_xyz[OUTER_EYES, :2]


class LandmarkMesh:
    """Lays the 478-point mesh on faces that a detector has found; safe to call from many threads.

    Args:
        threads: of ONNX Runtime; 0 lets it choose.

    Source:
        Kartynnik and others (2019), "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs",
        and its attention mesh successor with irises. YuNet places the eyes of tilted heads too level (4 degrees where
        30 are true) and those of heads upside down upright, hence more passes and turns for these.
    """

    def __init__(self, threads: int = 0) -> None:
        model = load_model("face-landmarks", task="face-landmarks", threads=threads)
        self._session, self._size = model.session, model.manifest.input.size
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()[:2]]

    def fit(
        self,
        image: np.ndarray,
        faces: Sequence[Face],
        *,
        max_tilt_deg: float = MAX_TILT_DEG,
        rotated: bool = True,
    ) -> list[FittedMesh | None]:
        """The mesh of every face in an image (H, W, 3) uint8 RGB, in order; None where it does not fit.

        Args:
            image: where the faces are.
            faces: of which the box and the eyes are looked at.
            max_tilt_deg: a face whose eyes lie this far off what the detector said is fitted again.
            rotated: try where no mesh fits well whether the face lies on its side or upside down; of the first `BATCH`
                alone, the largest ones of a detector.
        """
        check_image(image)
        meshes: list[FittedMesh | None] = []
        for start in range(0, len(faces), BATCH):
            meshes += self._fit_batch(
                image, faces[start : start + BATCH], max_tilt_deg, rotated and start == 0
            )
        return meshes

    def _fit_batch(
        self, image: np.ndarray, faces: Sequence[Face], max_tilt_deg: float, rotated: bool
    ) -> list[FittedMesh | None]:
        eyes = [face.landmarks_xy[:2].astype(np.float64) for face in faces]
        fits = self._settle(image, faces, eyes, self._run(image, faces, eyes), max_tilt_deg)
        for least, turns_deg in TURNS_DEG if rotated else ():
            unsure = [
                place
                for place, fit in enumerate(fits)
                if fit.logit < SURE_LOGIT and _side(faces[place]) >= MIN_TURNED_PX
            ]
            tries = [self._best_turn(image, faces[place], eyes[place], turns_deg) for place in unsure]
            found = self._settle(
                image,
                [faces[place] for place in unsure],
                [start for start, _ in tries],
                [fit for _, fit in tries],
                max_tilt_deg,
            )
            for place, fit in zip(unsure, found, strict=True):
                if fit.logit >= max(least, fits[place].logit + AHEAD_LOGIT):
                    fits[place] = fit
        return [
            FittedMesh(
                mesh_xyz=fit.mesh_xyz,
                presence=1 / (1 + math.exp(-fit.logit)),
                rotation_deg=math.degrees(_angle_between(stated, fit.eyes_xy)),
            )
            if fit.is_there
            else None
            for stated, fit in zip(eyes, fits, strict=True)
        ]

    def _best_turn(
        self, image: np.ndarray, face: Face, eyes_xy: np.ndarray, turns_deg: Sequence[float]
    ) -> tuple[np.ndarray, _Fit]:
        """The eyes (2, 2), rotated so that the mesh fits the face best, and that fit."""
        starts = [_turned(eyes_xy, rotation_deg) for rotation_deg in turns_deg]
        fits = self._run(image, [face] * len(starts), starts)
        return max(zip(starts, fits, strict=True), key=lambda pair: pair[1].logit)

    def _settle(
        self,
        image: np.ndarray,
        faces: Sequence[Face],
        eyes: Sequence[np.ndarray],
        fits: list[_Fit],
        max_tilt_deg: float,
    ) -> list[_Fit]:
        """Fits made with these eyes, repeated until the mesh's own eyes are level in its crop, or it is lost."""
        fits, level = list(fits), math.radians(max_tilt_deg)
        assumed, tilted = list(eyes), list(range(len(faces)))
        for _ in range(PASSES - 1):
            tilted = [
                place
                for place in tilted
                if fits[place].is_there and abs(_angle_between(assumed[place], fits[place].eyes_xy)) > level
            ]
            for place in tilted:
                assumed[place] = fits[place].eyes_xy
            again = self._run(image, [faces[place] for place in tilted], [assumed[place] for place in tilted])
            kept = [(place, fit) for place, fit in zip(tilted, again, strict=True) if fit.is_there]
            tilted = [place for place, _ in kept]
            for place, fit in kept:
                fits[place] = fit
        return fits

    def _run(self, image: np.ndarray, faces: Sequence[Face], eyes: Sequence[np.ndarray]) -> list[_Fit]:
        fits: list[_Fit] = []
        for start in range(0, len(faces), BATCH):
            pairs = zip(faces[start : start + BATCH], eyes[start : start + BATCH], strict=True)
            matrices = [mesh_crop_matrix(face.bbox_xyxy, two, self._size) for face, two in pairs]
            crops = np.stack([warp(image, matrix, (self._size, self._size)) for matrix in matrices])
            inputs = {self._input: crops.astype(np.float32) / np.float32(255)}
            points, logits = (np.asarray(output) for output in self._session.run(self._outputs, inputs))
            fits += [
                _Fit(_to_image(xyz, matrix), float(logit))
                for xyz, matrix, logit in zip(
                    points.reshape(-1, POINTS, 3), matrices, logits.reshape(-1), strict=True
                )
            ]
        return fits


def mesh_crop_matrix(bbox_xyxy: np.ndarray, eyes_xy: np.ndarray, size: int) -> np.ndarray:
    """The (2, 3) similarity from image to crop pixels: centered on the box, the eyes (2, 2) level."""
    box = bbox_xyxy.astype(np.float64)
    angle = _tilt(eyes_xy)
    scale = size / (CROP_SIDE * max(box[2] - box[0], box[3] - box[1], 1.0))
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos, sin], [-sin, cos]])
    center = (box[:2] + box[2:]) / 2
    return np.column_stack([linear, size / 2 - linear @ center])


def _side(face: Face) -> float:
    """The longer side of a face's box."""
    return float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())


def _tilt(eyes_xy: np.ndarray) -> float:
    """Angle in radians of the line from the subject's right eye to the left, clockwise in the image."""
    x, y = (eyes_xy[1] - eyes_xy[0]).astype(np.float64)
    return math.atan2(y, x)


def _turned(eyes_xy: np.ndarray, rotation_deg: float) -> np.ndarray:
    """The eyes (2, 2) of a face rotated about the point between them, clockwise in the image."""
    turn, middle = math.radians(rotation_deg), eyes_xy.mean(axis=0)
    cos, sin = math.cos(turn), math.sin(turn)
    return (eyes_xy - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle


def _angle_between(first_xy: np.ndarray, second_xy: np.ndarray) -> float:
    """Angle in radians from one pair of eyes to another, -pi..pi."""
    return math.remainder(_tilt(second_xy) - _tilt(first_xy), math.tau)


def _to_image(xyz: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Crop points back in the image; depth is scaled as the plane is."""
    back = invert(matrix)
    depth = xyz[:, 2] * math.hypot(back[0, 0], back[1, 0])
    return np.column_stack([transform_points(back, xyz[:, :2]), depth]).astype(np.float32)
