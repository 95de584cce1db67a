"""What is measured of a face before its expression is read: mesh, head pose, quality, and how it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.faces import LandmarkMesh, face_quality, head_pose
from mien.faces.landmarks import MAX_TILT_DEG
from mien.results import Face

STRAIGHTEN_DEG = 15.0
"""A face whose mesh is rotated more than this against its landmarks is cut by the mesh: the landmarks lie."""


def measure_faces(
    image: np.ndarray,
    faces: Sequence[Face],
    mesh: LandmarkMesh | None,
    *,
    max_tilt_deg: float = MAX_TILT_DEG,
    rotated: bool = True,
) -> list[Face]:
    """Faces of an image (H, W, 3) uint8 RGB with pose and quality, in order.

    A face that lies otherwise than its landmarks say, by more than `STRAIGHTEN_DEG`, gets those of its mesh.

    Args:
        image: where the faces are.
        faces: as a detector gives them; one that comes with a head pose keeps it.
        mesh: fits them; None leaves poses and landmarks as they are.
        max_tilt_deg: see `LandmarkMesh.fit`.
        rotated: likewise; without it landmarks stay too.
    """
    unposed = [face for face in faces if face.head_pose is None]
    found = (
        mesh.fit(image, unposed, max_tilt_deg=max_tilt_deg, rotated=rotated)
        if mesh
        else [None] * len(unposed)
    )
    fits, measured = iter(found), []
    for face in faces:
        fit, posed = next(fits) if face.head_pose is None else None, face
        if fit is not None:
            posed = replace(face, mesh_xyz=fit.mesh_xyz, head_pose=head_pose(fit.mesh_xyz))
            if rotated and abs(fit.rotation_deg) > STRAIGHTEN_DEG:
                posed = replace(posed, landmarks_xy=fit.landmarks_xy)
        measured.append(replace(posed, quality=face_quality(image, posed)))
    return measured
