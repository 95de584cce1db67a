"""Gaze in the head: the direction of the eyes relative to the face, from the irises of the mesh."""

from __future__ import annotations

import math

import numpy as np

from mien.faces.pose import head_rotation
from mien.results import Gaze

EYES = ((33, 133, 468), (362, 263, 473))
"""Mesh points of each eye: its two corners, and the center of its iris."""
EYEBALL_RADIUS = 0.4
"""Radius of the eyeball in distances of the eye's corners: about 12 of 30 mm."""
LEVEL_HEIGHT = 0.065
"""Height of the iris above the corners at pitch 0: the mean over frontal photographs."""


def eye_gaze(mesh_xyz: np.ndarray) -> Gaze:
    """Return the direction of the eyes in the head of a mesh (478, 3); the mean of both eyes.

    The mesh is rotated to a frontal view first. An iris that is off the middle between the corners of the eye by the
    radius of the eyeball looks 90 degrees aside. The estimate is coarse, and meaningless for closed eyes.

    Raises:
        InputError: on a mesh of another shape.
    """
    frontal = mesh_xyz * np.array([1.0, -1.0, -1.0]) @ head_rotation(mesh_xyz)
    offsets = np.mean([_iris_offset(frontal, *eye) for eye in EYES], axis=0) - np.array([0.0, LEVEL_HEIGHT])
    yaw, pitch = (math.degrees(math.asin(max(-1.0, min(1.0, offset / EYEBALL_RADIUS)))) for offset in offsets.tolist())
    return Gaze(yaw_deg=yaw, pitch_deg=pitch)


def _iris_offset(frontal_xyz: np.ndarray, first: int, second: int, iris: int) -> np.ndarray:
    """Return x and y of the iris from the middle of the eye, in distances of its corners."""
    corners = frontal_xyz[[first, second], :2]
    width = max(float(np.linalg.norm(corners[0] - corners[1])), 1e-6)
    return (frontal_xyz[iris, :2] - corners.mean(axis=0)) / width
