"""Options of a prediction: defaults of an analyzer, and their overrides for one call."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mien.errors import InputError
from mien.faces.detection import DETECTOR_SIZE, check_detector_size
from mien.imaging import MAX_PIXELS


class Default(Enum):
    """The type of `DEFAULT`, which stands for the analyzer's own value of an option."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = Default.DEFAULT
"""Keep the analyzer's own value of an option; `None` is a value of some options."""


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """Options that may differ from call to call; see `mien.Analyzer` for their meaning.

    Raises:
        InputError: if a value is out of range.
    """

    detector_size: int = DETECTOR_SIZE
    pose: bool = True
    action_units: bool = False
    flip_tta: bool = False
    max_faces: int | None = None
    min_confidence: float = 0.6
    max_error: float | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_detector_size("detector_size", self.detector_size)
        if self.action_units and not self.pose:
            raise InputError("action_units needs the face mesh; expected pose=True with it.")
        if self.max_faces is not None and self.max_faces < 1:
            raise InputError(f"max_faces is {self.max_faces}; expected 1 or more, or None.")
        if not 0 < self.min_confidence < 1:
            raise InputError(f"min_confidence is {self.min_confidence}; expected a number between 0 and 1.")
        if self.max_error is not None and not 0 <= self.max_error <= 1:
            raise InputError(f"max_error is {self.max_error}; expected a share from 0 to 1, such as 0.05.")
        if self.max_pixels < 1:
            raise InputError(f"max_pixels is {self.max_pixels}; expected 1 or more.")
