"""Mouth opening of the faces of a video, measured on the landmark mesh while somebody speaks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mien.faces.landmarks import LandmarkMesh, MeshOptions
from mien.faces.movements import FOREHEAD_AND_CHIN
from mien.results import Face, VideoFrame

UPPER_LIP = (13, 82, 312)
LOWER_LIP = (14, 87, 317)
"""Mesh points of the inner lips: at the middle and beside it."""
MARGIN_S = 0.6
"""Seconds before and after a speech segment in which mouths are measured too, for the search of a delay."""
MAX_FACES = 4
"""Maximum number of faces per frame; the largest are measured."""


def mouth_opening(mesh_xyz: np.ndarray) -> float:
    """Return the distance of the inner lips of a mesh (478, 3) in face heights."""
    gap = np.linalg.norm(mesh_xyz[list(UPPER_LIP)] - mesh_xyz[list(LOWER_LIP)], axis=1).mean()
    top, bottom = mesh_xyz[list(FOREHEAD_AND_CHIN)]
    return float(gap / max(float(np.linalg.norm(top - bottom)), 1e-6))


class MouthMeter:
    """Measures mouths in the frames in which faces are detected, about every 0.1 s, while somebody speaks.

    Args:
        mesh: fitted, by its detailed network, to faces without blendshapes; those with them have a detailed mesh.
        segments_s: start and end of the speech segments in seconds of the video.
    """

    def __init__(self, mesh: LandmarkMesh, segments_s: Iterable[tuple[float, float]]) -> None:
        self._mesh = mesh
        spans = np.array(sorted(segments_s), dtype=np.float64).reshape(-1, 2)
        self._starts_s = spans[:, 0] - MARGIN_S
        self._ends_s = np.maximum.accumulate(spans[:, 1]) + MARGIN_S

    def measure(self, frame: VideoFrame) -> dict[int, float]:
        """Return the mouth opening of each face that was detected in a frame with its pixels, by track id."""
        if not self._is_speech(frame.timestamp_s):
            return {}
        detected = [face for face in frame.faces if face.expression is not None]
        faces = sorted(detected, key=_area)[-MAX_FACES:]
        unfitted = [face for face in faces if face.blendshapes is None]
        fits = self._mesh.fit(frame.image, unfitted, MeshOptions(try_rotations=False)) if unfitted else []
        meshes = [(face, face.mesh_xyz) for face in faces if face.blendshapes is not None]
        meshes += [(face, fit.mesh_xyz) for face, fit in zip(unfitted, fits, strict=True) if fit is not None]
        return {
            face.track_id: mouth_opening(mesh_xyz)
            for face, mesh_xyz in meshes
            if mesh_xyz is not None and face.track_id is not None
        }

    def _is_speech(self, time_s: float) -> bool:
        index = int(np.searchsorted(self._starts_s, time_s, side="right")) - 1
        return index >= 0 and time_s <= self._ends_s[index]


def _area(face: Face) -> float:
    x1, y1, x2, y2 = face.bbox_xyxy.tolist()
    return (x2 - x1) * (y2 - y1)
