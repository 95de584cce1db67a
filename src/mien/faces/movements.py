"""Facial movements from the mesh: blendshapes, action units and gaze. They are estimates, not FACS coding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mien.action_units import ACTION_UNITS, LIPS_PART, ActionUnit
from mien.faces.blendshapes import BlendshapeModel
from mien.faces.gaze import eye_gaze
from mien.results import Face

INNER_LIPS = (13, 14)
"""Mesh points at the middle of the upper and lower inner lip."""
FOREHEAD_AND_CHIN = (10, 152)
"""Mesh points at the top and bottom of the face."""
OPEN_LIPS = 0.1
"""Distance of the inner lips, in heights of the face, from which AU25 is 1."""
CLOSED_EYES = 0.5
"""AU43 above which the direction of the eyes is unknown."""


def estimate_movements(faces: Sequence[Face], model: BlendshapeModel) -> list[Face]:
    """Return the faces with blendshapes, action units and gaze, in order; a face without a mesh is unchanged."""
    rows = iter(model.predict([face.mesh_xyz for face in faces if face.mesh_xyz is not None]).tolist())
    return [
        face if face.mesh_xyz is None else _with_movements(face, dict(zip(model.names, next(rows), strict=True)))
        for face in faces
    ]


def _with_movements(face: Face, blendshapes: dict[str, float]) -> Face:
    assert face.mesh_xyz is not None
    units = estimate_action_units(blendshapes, face.mesh_xyz)
    gaze = eye_gaze(face.mesh_xyz) if units["AU43"] <= CLOSED_EYES else None
    return replace(face, blendshapes=blendshapes, action_units=units, gaze=gaze)


def estimate_action_units(blendshapes: Mapping[str, float], mesh_xyz: np.ndarray) -> dict[str, float]:
    """Return the estimated intensity 0..1 of every name in `ACTION_UNIT_NAMES`.

    Args:
        blendshapes: coefficients by MediaPipe's names.
        mesh_xyz: the mesh (478, 3) in pixels, for AU25.
    """
    intensities: dict[str, float] = {}
    for unit in ACTION_UNITS:
        if unit is LIPS_PART:
            intensities[unit.name] = lips_part(mesh_xyz)
        elif unit.is_paired:
            left, right = (_mean(blendshapes, unit, side) for side in ("Left", "Right"))
            intensities |= {unit.name: (left + right) / 2, f"{unit.name}_L": left, f"{unit.name}_R": right}
        else:
            intensities[unit.name] = _mean(blendshapes, unit, "")
    return intensities


def lips_part(mesh_xyz: np.ndarray) -> float:
    """Return AU25, 0..1: the distance of the inner lips in heights of the face, 1 from `OPEN_LIPS` on."""
    upper, lower = mesh_xyz[list(INNER_LIPS)]
    top, bottom = mesh_xyz[list(FOREHEAD_AND_CHIN)]
    share = float(np.linalg.norm(upper - lower) / max(float(np.linalg.norm(top - bottom)), 1e-6))
    return min(1.0, share / OPEN_LIPS)


def _mean(blendshapes: Mapping[str, float], unit: ActionUnit, side: str) -> float:
    return sum(blendshapes[f"{name}{side}"] for name in unit.blendshapes) / len(unit.blendshapes)
