"""Head pose: the rotation from the canonical face mesh to a fitted one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from mien.errors import InputError
from mien.results import HeadPose
from mien.runtime import ASSETS


@dataclass(frozen=True)
class CanonicalFace:
    """Landmarks of an average face that determine the head's rotation, with their weights.

    Attributes:
        landmarks: (33,) indices into the mesh of 478 points that move little with expression.
        weights: (33,) positive.
        points_xyz: (33, 3) in centimeters; x to the subject's left, y up, z out of the face.
    """

    landmarks: np.ndarray
    weights: np.ndarray
    points_xyz: np.ndarray


@cache
def canonical_face() -> CanonicalFace:
    """Load the canonical face; `assets/face-geometry.json` states its origin and license."""
    record = json.loads((ASSETS / "face-geometry.json").read_text(encoding="utf-8"))
    table = np.array(record["landmarks"], dtype=np.float64)
    return CanonicalFace(table[:, 0].astype(np.intp), table[:, 1], table[:, 2:])


def head_rotation(mesh_xyz: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of a mesh (478, 3) from the canonical face, axes as in `CanonicalFace`.

    Raises:
        InputError: on a mesh of another shape.
    """
    if mesh_xyz.ndim != 2 or mesh_xyz.shape[0] < 468 or mesh_xyz.shape[1] != 3:
        raise InputError(f"expected a mesh (478, 3), got {mesh_xyz.shape}.")
    face = canonical_face()
    # In the image y points down and z away from the camera.
    observed = mesh_xyz[face.landmarks] * np.array([1.0, -1.0, -1.0])
    return fit_rotation(face.points_xyz, observed, face.weights)


def head_pose(mesh_xyz: np.ndarray) -> HeadPose:
    """Return yaw, pitch and roll of a mesh (478, 3); the signs are those of `HeadPose`.

    The head is pitched about the line of its ears, then yawed about the vertical, then rolled in the
    plane of the image: R = Rz(-roll) Ry(yaw) Rx(-pitch), axes as in `CanonicalFace`. The roll comes last,
    so that rotating the image in its plane changes only the roll; at roll 0 the eyes are level in the image.
    Yaw is within -90..90; in full profile roll and pitch cannot be separated.

    Raises:
        InputError: on a mesh of another shape.

    Source:
        Weighted Procrustes as in MediaPipe's geometry pipeline, but on pixels without a camera model: within
        2 degrees of its matrix on photographs (median).
    """
    rotation = head_rotation(mesh_xyz)
    cos_yaw = math.hypot(rotation[0, 0], rotation[1, 0])
    return HeadPose(
        yaw_deg=math.degrees(math.atan2(-rotation[2, 0], cos_yaw)),
        pitch_deg=-math.degrees(math.atan2(rotation[2, 1], rotation[2, 2])),
        roll_deg=-math.degrees(math.atan2(rotation[1, 0], rotation[0, 0])),
    )


def fit_rotation(source_xyz: np.ndarray, target_xyz: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3), without reflection, that best maps source points (N, 3) to target points.

    Weighted least squares after the best translation; the best uniform scale does not change the rotation.

    Source:
        Kabsch (1976), "A solution for the best rotation to relate two sets of vectors".
    """
    share = (weights / weights.sum())[:, None]
    source = source_xyz - (share * source_xyz).sum(axis=0)
    target = target_xyz - (share * target_xyz).sum(axis=0)
    left, _, right = np.linalg.svd(target.T @ (share * source))
    handedness = np.sign(np.linalg.det(left @ right))
    return left @ np.diag([1.0, 1.0, handedness]) @ right
