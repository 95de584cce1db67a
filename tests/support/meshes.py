"""Meshes deformed unit by unit: a real mesh whose lids, brows or lips are moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mien.faces.movements import FOREHEAD_AND_CHIN

UPPER_LIDS = {"L": (466, 388, 387, 386, 385, 384, 398), "R": (246, 161, 160, 159, 158, 157, 173)}
LOWER_LIDS = {"L": (249, 390, 373, 374, 380, 381, 382), "R": (7, 163, 144, 145, 153, 154, 155)}
UPPER_LIP = (13, 82, 312, 81, 311, 0, 37, 267, 39, 269)
LOWER_LIP = (14, 87, 317, 178, 402, 17, 84, 314, 91, 321)
IRISES = tuple(range(468, 478))

Deformation = Callable[[np.ndarray], np.ndarray]


def shift(points: Sequence[int], x: float, y: float) -> Deformation:
    """Return a function that moves mesh points by shares of the face's height; y points down."""

    def apply(mesh_xyz: np.ndarray) -> np.ndarray:
        moved = mesh_xyz.copy()
        moved[list(points), :2] += np.array([x, y]) * face_height(mesh_xyz)
        return moved

    return apply


def pull(moves: Mapping[int, tuple[float, float]], radius: float) -> Deformation:
    """Return a function that moves points and, less, their surroundings; in shares of the face's height."""

    def apply(mesh_xyz: np.ndarray) -> np.ndarray:
        moved, height = mesh_xyz.copy(), face_height(mesh_xyz)
        for center, move in moves.items():
            distances = np.linalg.norm(mesh_xyz[:, :2] - mesh_xyz[center, :2], axis=1)
            weights = np.exp(-((distances / (radius * height)) ** 2) / 2)
            moved[:, :2] += weights[:, None] * np.array(move) * height
        return moved

    return apply


def approach(points: Sequence[int], targets: Sequence[int], share: float) -> Deformation:
    """Return a function that moves points by a share of the way to others."""

    def apply(mesh_xyz: np.ndarray) -> np.ndarray:
        moved = mesh_xyz.copy()
        moved[list(points)] += share * (mesh_xyz[list(targets)] - mesh_xyz[list(points)])
        return moved

    return apply


def face_height(mesh_xyz: np.ndarray) -> float:
    """Return the distance of forehead and chin in pixels."""
    top, bottom = mesh_xyz[list(FOREHEAD_AND_CHIN), :2]
    return float(np.linalg.norm(top - bottom))


UNIT_DEFORMATIONS: dict[str, Deformation] = {
    "AU01": pull({107: (0, -0.05), 336: (0, -0.05)}, 0.04),
    "AU02_L": pull({334: (0, -0.06)}, 0.05),
    "AU04_L": pull({336: (0.01, 0.03), 334: (0, 0.02)}, 0.05),
    "AU04_R": pull({107: (-0.01, 0.03), 105: (0, 0.02)}, 0.05),
    "AU07_L": approach(LOWER_LIDS["L"], UPPER_LIDS["L"], 0.4),
    "AU07_R": approach(LOWER_LIDS["R"], UPPER_LIDS["R"], 0.4),
    "AU12_L": pull({291: (0.05, -0.05)}, 0.05),
    "AU12_R": pull({61: (-0.05, -0.05)}, 0.05),
    "AU15_R": pull({61: (0, 0.05)}, 0.04),
    "AU18": pull({61: (0.06, 0), 291: (-0.06, 0)}, 0.05),
    "AU20_L": pull({291: (0.06, 0)}, 0.04),
    "AU20_R": pull({61: (-0.06, 0)}, 0.04),
    "AU25": shift((14, 15, 16, 17, 84, 85, 86, 87, 88, 178, 314, 315, 316, 317, 318, 402), 0, 0.05),
    "AU26": pull({17: (0, 0.1), 152: (0, 0.1)}, 0.07),
    "AU28": approach(UPPER_LIP, LOWER_LIP, 0.3),
    "AU43_L": approach(UPPER_LIDS["L"], LOWER_LIDS["L"], 0.9),
    "AU43_R": approach(UPPER_LIDS["R"], LOWER_LIDS["R"], 0.9),
}
"""A movement of the mesh for every unit whose estimate follows one."""
