"""Mesh and head pose of detected faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.faces.landmarks import SINGLE_IMAGE, LandmarkMesh, MeshOptions, MeshSearch
from mien.faces.pose import head_pose
from mien.results import Face

DOUBTFUL_CONFIDENCE = 0.8
"""Detector confidence below which a face without a mesh is doubtful; see benchmarks/false_faces.py."""
DOUBTFUL_LOGIT = 4.0
"""Presence logit of a rotated crop from which such a face is not doubtful. False faces reach 3.3, rotated ones 8."""


def pose_faces(
    image: np.ndarray,
    faces: Sequence[Face],
    mesh: LandmarkMesh | None,
    options: MeshOptions = SINGLE_IMAGE,
    *,
    detailed: bool = False,
) -> list[Face]:
    """Return the faces with mesh and head pose, in order; some are marked as doubtful.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: detected faces; one that has a head pose keeps it, unless a detailed mesh is asked for and it has no
            blendshapes.
        mesh: mesh model; None leaves poses and landmarks unchanged.
        options: see `MeshOptions`; without `try_rotations` the detector's landmarks are kept.
        detailed: as in `LandmarkMesh.search`.
    """
    unposed: list[Face] = []
    searches: list[MeshSearch] = []
    if mesh:
        unposed = [face for face in faces if face.head_pose is None or (detailed and face.blendshapes is None)]
        searches = mesh.search(image, unposed, options, detailed=detailed)
    search_by_id = {id(face): search for face, search in zip(unposed, searches, strict=True)}
    posed = []
    for face in faces:
        search = search_by_id.get(id(face))
        if search and (fit := search.mesh):
            is_rotated = options.try_rotations and abs(fit.rotation_deg) > options.max_landmark_rotation_deg
            face = replace(
                face,
                mesh_xyz=fit.mesh_xyz,
                head_pose=head_pose(fit.mesh_xyz),
                landmarks_xy=fit.landmarks_xy if is_rotated else face.landmarks_xy,
                is_face_doubtful=False,
            )
        else:
            face = replace(face, is_face_doubtful=search is not None and _is_doubtful(face, search))
        posed.append(face)
    return posed


def _is_doubtful(face: Face, search: MeshSearch) -> bool:
    return search.mesh is None and search.best_logit < DOUBTFUL_LOGIT and face.confidence < DOUBTFUL_CONFIDENCE
