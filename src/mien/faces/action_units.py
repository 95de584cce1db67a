"""Action units: estimates of facial movements from blendshapes and mesh. They are not FACS coding.

docs/action-units.md has the sources of the mapping and what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

INNER_LIPS = (13, 14)
"""Mesh points at the middle of the upper and lower inner lip."""
FOREHEAD_AND_CHIN = (10, 152)
"""Mesh points at the top and bottom of the face."""
OPEN_LIPS = 0.1
"""Distance of the inner lips, in heights of the face, from which AU25 is 1."""


@dataclass(frozen=True)
class ActionUnit:
    """A unit of the Facial Action Coding System and the blendshapes that it is estimated from.

    Attributes:
        number: number of the unit.
        description: FACS name.
        blendshapes: prefixes of pairs that end in "Left" and "Right", or full names of bilateral coefficients.
        is_paired: whether the sides are estimated separately.
    """

    number: int
    description: str
    blendshapes: tuple[str, ...]
    is_paired: bool = True

    @property
    def name(self) -> str:
        """The column name, such as "AU01"."""
        return f"AU{self.number:02d}"


LIPS_PART = ActionUnit(25, "lips part", (), is_paired=False)
"""The only unit that is measured on the mesh."""
ACTION_UNITS = (
    ActionUnit(1, "inner brow raiser", ("browInnerUp",), is_paired=False),
    ActionUnit(2, "outer brow raiser", ("browOuterUp",)),
    ActionUnit(4, "brow lowerer", ("browDown",)),
    ActionUnit(5, "upper lid raiser", ("eyeWide",)),
    ActionUnit(7, "lid tightener", ("eyeSquint",)),
    ActionUnit(10, "upper lip raiser", ("mouthUpperUp",)),
    ActionUnit(12, "lip corner puller", ("mouthSmile",)),
    ActionUnit(14, "dimpler", ("mouthDimple",)),
    ActionUnit(15, "lip corner depressor", ("mouthFrown",)),
    ActionUnit(16, "lower lip depressor", ("mouthLowerDown",)),
    ActionUnit(17, "chin raiser", ("mouthShrugLower",), is_paired=False),
    ActionUnit(18, "lip pucker", ("mouthPucker",), is_paired=False),
    ActionUnit(20, "lip stretcher", ("mouthStretch",)),
    ActionUnit(22, "lip funneler", ("mouthFunnel",), is_paired=False),
    ActionUnit(24, "lip pressor", ("mouthPress",)),
    LIPS_PART,
    ActionUnit(26, "jaw drop", ("jawOpen",), is_paired=False),
    ActionUnit(28, "lip suck", ("mouthRollUpper", "mouthRollLower"), is_paired=False),
    ActionUnit(43, "eyes closed", ("eyeBlink",)),
)
"""The units that are estimated. Without evidence for them, AU6, AU9 and AU34 are absent."""
ACTION_UNIT_NAMES = tuple(
    name
    for unit in ACTION_UNITS
    for name in ((unit.name, f"{unit.name}_L", f"{unit.name}_R") if unit.is_paired else (unit.name,))
)
"""Keys of `estimate_action_units`: "AU02" is the mean of "AU02_L" and "AU02_R", the subject's left and right side."""


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
