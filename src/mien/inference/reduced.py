"""Faces of JPEGs that were decoded at a reduced size: sufficient detail, and coordinates in the whole image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mien.results import Face

REDUCED_SIDE = 1.5
"""Minimum long side of a reduced image, in long sides of the detector's input."""
MIN_FACE_PX = 112.0
"""Minimum longer side of every face in a reduced image, in pixels; below it the image is decoded at a larger size."""


def has_detail(faces: Sequence[Face]) -> bool:
    """Return whether a reduced image shows faces, and all of them large enough for the networks."""
    return bool(faces) and _min_side(faces) >= MIN_FACE_PX


def sufficient_side(faces: Sequence[Face], shape: tuple[int, ...]) -> int | None:
    """Return the minimum long side at which all faces are large enough; None, the whole image, without faces.

    Args:
        faces: faces of a reduced image.
        shape: its height and width come first.
    """
    return math.ceil(max(shape[:2]) * MIN_FACE_PX / max(_min_side(faces), 1.0)) if faces else None


def _min_side(faces: Sequence[Face]) -> float:
    """Return the longer side of the smallest face in pixels."""
    return min(float((face.bbox_xyxy[2:] - face.bbox_xyxy[:2]).max()) for face in faces)


def enlarge_face(face: Face, scale: int) -> Face:
    """Return a face of a reduced image with the coordinates and the size of the whole image."""
    if scale == 1:
        return face
    return replace(
        face,
        bbox_xyxy=face.bbox_xyxy * scale,
        landmarks_xy=face.landmarks_xy * scale,
        mesh_xyz=None if face.mesh_xyz is None else face.mesh_xyz * scale,
        quality=None if face.quality is None else replace(face.quality, size_px=face.quality.size_px * scale),
    )
