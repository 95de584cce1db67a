"""Search for the face mesh of 478 three-dimensional landmarks: tilted, rotated and doubtful faces included."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mien.devices import Precision
from mien.faces.mesh_network import BATCH, CropFit, MeshNetwork, angle_between
from mien.imaging import check_image
from mien.results import Face
from mien.runtime import LoadedModel

DETECTOR_LANDMARKS = [468, 473, 4, 61, 291]
"""Mesh points that correspond to a detector's five landmarks: irises, nose tip, mouth corners."""
MIN_LOGIT = 0.0
"""Minimum presence logit of a face; below it the mesh is meaningless."""
MAX_PASSES = 6
"""Maximum number of fits of one face; the tilt of a face rotated by 90 degrees is approached in steps."""
CLEAR_LOGIT = 6.0
"""Presence logit of the small network below which the detailed one fits the face again."""
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


@dataclass(frozen=True, kw_only=True)
class MeshOptions:
    """Options of a search for the mesh; the defaults are those of single images.

    Attributes:
        max_tilt_deg: maximum tilt of the mesh's eyes in the crop; a face above it is fitted again, leveled by those
            eyes.
        try_rotations: also try rotated crops for poor fits among the `BATCH` largest faces.
        max_landmark_rotation_deg: rotation of the mesh against the detector's landmarks above which its own replace
            them; see `mien.faces.attributes.pose_faces`.
    """

    max_tilt_deg: float = 6.0
    try_rotations: bool = True
    max_landmark_rotation_deg: float = 15.0


SINGLE_IMAGE = MeshOptions()
"""Options of single images."""
VIDEO_FRAME = MeshOptions(max_tilt_deg=12.0, try_rotations=False, max_landmark_rotation_deg=60.0)
"""Options of frames of a video.

The higher tilt saves second fits and changes angles by up to 2 degrees. Only heads that are rotated by 90 or 180
degrees are aligned by the mesh: at smaller rotations crops would jump between frames with and without a mesh.
"""


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


class LandmarkMesh:
    """Fits the 478-point mesh to detected faces; thread-safe.

    A small network suffices for the head pose of a clear face. MediaPipe's network locates lips, lids and irises as
    accurately as action units, gaze and the opening of the mouth need, and judges the faces that are not clear.

    Args:
        threads: ONNX Runtime threads; 0 lets it choose.
        device: where the networks run; see `mien.runtime.open_session`.
        precision: float32 or int8 arithmetic; see `mien.runtime.load_model`.

    Source:
        Kartynnik and others (2019), "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs",
        and its attention mesh successor with irises. YuNet underestimates the tilt of heads (4 degrees for 30) and
        reports upside-down heads as upright; hence the repeated and rotated fits.
    """

    def __init__(self, threads: int = 0, *, device: str = "auto", precision: Precision = "auto") -> None:
        self._open = partial(MeshNetwork, threads=threads, device=device, precision=precision)
        self._lock = threading.Lock()
        self._small = self._open("face-landmarks-small")
        self._detailed: MeshNetwork | None = None

    @property
    def loaded(self) -> dict[str, LoadedModel]:
        """The open networks by their role; the detailed one is opened on first use."""
        networks = {"small mesh": self._small, "detailed mesh": self._detailed}
        return {role: network.network for role, network in networks.items() if network is not None}

    def _detailed_network(self) -> MeshNetwork:
        with self._lock:
            if self._detailed is None:
                self._detailed = self._open("face-landmarks")
            return self._detailed

    def fit(
        self, image: np.ndarray, faces: Sequence[Face], options: MeshOptions = SINGLE_IMAGE, *, detailed: bool = True
    ) -> list[FittedMesh | None]:
        """Return the mesh of every face, in order; None where it does not fit. See `search` for the arguments."""
        return [search.mesh for search in self.search(image, faces, options, detailed=detailed)]

    def search(
        self, image: np.ndarray, faces: Sequence[Face], options: MeshOptions = SINGLE_IMAGE, *, detailed: bool = True
    ) -> list[MeshSearch]:
        """Fit the mesh to every face, in order.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: detected faces; their boxes and eyes are used.
            options: when a fit is repeated or tried in rotated crops.
            detailed: fit all faces with the detailed network; otherwise only those whose presence logit in the small
                network is below `CLEAR_LOGIT`.
        """
        check_image(image)
        largest_first = sorted(range(len(faces)), key=lambda index: -_side(faces[index]))
        searches: dict[int, MeshSearch] = {}
        for start in range(0, len(faces), BATCH):
            batch = largest_first[start : start + BATCH]
            batch_searches = self._search_batch(image, [faces[index] for index in batch], options, detailed=detailed)
            searches.update(zip(batch, batch_searches, strict=True))
            options = replace(options, try_rotations=False)
        return [searches[index] for index in range(len(faces))]

    def _search_batch(
        self, image: np.ndarray, faces: Sequence[Face], options: MeshOptions, *, detailed: bool
    ) -> list[MeshSearch]:
        eyes = [face.landmarks_xy[:2].astype(np.float64) for face in faces]
        searches: dict[int, MeshSearch] = {}
        if not detailed:
            fits = _refine(self._small, image, faces, self._small.predict(image, faces, eyes), options)
            searches = {
                index: _to_search(fit, fit.logit, eyes[index])
                for index, fit in enumerate(fits)
                if fit.logit >= CLEAR_LOGIT
            }
        unclear = [index for index in range(len(faces)) if index not in searches]
        if unclear:
            detailed_searches = _search_detailed(
                self._detailed_network(),
                image,
                [faces[index] for index in unclear],
                [eyes[index] for index in unclear],
                options,
            )
            searches.update(zip(unclear, detailed_searches, strict=True))
        return [searches[index] for index in range(len(faces))]


def _search_detailed(
    network: MeshNetwork, image: np.ndarray, faces: Sequence[Face], eyes: Sequence[np.ndarray], options: MeshOptions
) -> list[MeshSearch]:
    """Fit the mesh to faces, with rotated crops where the fit is poor; see `LandmarkMesh.search`."""
    fits = _refine(network, image, faces, network.predict(image, faces, eyes), options)
    logits = [fit.logit for fit in fits]
    large = [index for index, face in enumerate(faces) if _side(face) >= MIN_ROTATED_SIZE_PX]
    for min_logit, angles_deg in ROTATIONS if options.try_rotations else ():
        unsure = [index for index in large if fits[index].logit < CONFIDENT_LOGIT]
        candidates = [_best_rotation(network, image, faces[index], eyes[index], angles_deg) for index in unsure]
        refined = _refine(network, image, [faces[index] for index in unsure], candidates, options)
        for index, fit in zip(unsure, refined, strict=True):
            logits[index] = max(logits[index], fit.logit)
            if fit.logit >= max(min_logit, fits[index].logit + MIN_LOGIT_MARGIN):
                fits[index] = fit
    return [_to_search(fit, logit, eyes_xy) for fit, logit, eyes_xy in zip(fits, logits, eyes, strict=True)]


def _best_rotation(
    network: MeshNetwork, image: np.ndarray, face: Face, eyes_xy: np.ndarray, angles_deg: Sequence[float]
) -> CropFit:
    """Return the most confident fit over crops rotated by each angle."""
    eyes = [_rotate(eyes_xy, angle_deg) for angle_deg in angles_deg]
    return max(network.predict(image, [face] * len(eyes), eyes), key=lambda fit: fit.logit)


def _refine(
    network: MeshNetwork, image: np.ndarray, faces: Sequence[Face], fits: Sequence[CropFit], options: MeshOptions
) -> list[CropFit]:
    """Repeat the fits until the mesh is upright in the crop or the face is lost."""
    fits = list(fits)
    max_tilt = math.radians(options.max_tilt_deg)
    pending = list(range(len(faces)))
    for _ in range(MAX_PASSES - 1):
        pending = [index for index in pending if fits[index].logit >= MIN_LOGIT and abs(fits[index].tilt) > max_tilt]
        refits = network.predict(image, [faces[index] for index in pending], [fits[index].eyes_xy for index in pending])
        improved = {index: fit for index, fit in zip(pending, refits, strict=True) if fit.logit >= MIN_LOGIT}
        for index, fit in improved.items():
            fits[index] = fit
        pending = list(improved)
    return fits


def _to_search(fit: CropFit, best_logit: float, detector_eyes_xy: np.ndarray) -> MeshSearch:
    """Return the result of a search; without a mesh where the fit shows no face."""
    if fit.logit < MIN_LOGIT:
        return MeshSearch(None, best_logit)
    mesh = FittedMesh(
        mesh_xyz=fit.mesh_xyz,
        presence=1 / (1 + math.exp(-fit.logit)),
        rotation_deg=math.degrees(angle_between(detector_eyes_xy, fit.eyes_xy)),
    )
    return MeshSearch(mesh, best_logit)


def _side(face: Face) -> float:
    """Return the longer side of a face's box."""
    return float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max())


def _rotate(eyes_xy: np.ndarray, angle_deg: float) -> np.ndarray:
    """Rotate the eyes (2, 2) about their midpoint, clockwise in the image."""
    angle, midpoint = math.radians(angle_deg), eyes_xy.mean(axis=0)
    cos, sin = math.cos(angle), math.sin(angle)
    return (eyes_xy - midpoint) @ np.array([[cos, sin], [-sin, cos]]) + midpoint
