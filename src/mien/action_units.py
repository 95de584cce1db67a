"""Action units of the Facial Action Coding System (FACS) that are estimated, and the blendshapes behind them.

docs/action-units.md has the sources of the mapping and what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass


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
"""Names of the estimates: "AU02" is the mean of "AU02_L" and "AU02_R", the subject's left and right side."""
