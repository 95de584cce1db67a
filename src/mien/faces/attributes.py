"""Face attributes other than expression: mesh, head pose and quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.faces.landmarks import MAX_TILT_DEG, LandmarkMesh
from mien.faces.pose import head_pose
from mien.faces.quality import face_quality
from mien.results import Face

MAX_LANDMARK_ROTATION_DEG = 15.0
"""Rotation between mesh and detector landmarks above which the mesh's landmarks replace the detector's."""

DOUBTFUL_CONFIDENCE = 0.8
"""Detector confidence below which a face without a mesh is doubtful; see benchmarks/false_faces.py."""


def measure_faces(
    image: np.ndarray,
    faces: Sequence[Face],
    mesh: LandmarkMesh | None,
    *,
    max_tilt_deg: float = MAX_TILT_DEG,
    rotated: bool = True,
) -> list[Face]:
    """Return the faces with head pose and quality, in order; some are marked as doubtful.

    A face that is rotated against its landmarks by more than `MAX_LANDMARK_ROTATION_DEG` gets those of its mesh.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: detected faces; one that has a head pose keeps it.
        mesh: mesh model; None leaves poses and landmarks unchanged.
        max_tilt_deg: as in `LandmarkMesh.fit`.
        rotated: as in `LandmarkMesh.fit`; False also keeps the detector's landmarks.
    """
    unposed = [face for face in faces if face.head_pose is None] if mesh else []
    fits = mesh.fit(image, unposed, max_tilt_deg=max_tilt_deg, rotated=rotated) if mesh else []
    fit_by_id = {id(face): fit for face, fit in zip(unposed, fits, strict=True)}
    measured = []
    for face in faces:
        if fit := fit_by_id.get(id(face)):
            face = replace(face, mesh_xyz=fit.mesh_xyz, head_pose=head_pose(fit.mesh_xyz))
            if rotated and abs(fit.rotation_deg) > MAX_LANDMARK_ROTATION_DEG:
                face = replace(face, landmarks_xy=fit.landmarks_xy)
        is_doubtful = mesh is not None and face.head_pose is None and face.confidence < DOUBTFUL_CONFIDENCE
        measured.append(replace(face, quality=face_quality(image, face), is_face_doubtful=is_doubtful))
    return measured
