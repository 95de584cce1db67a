"""Options of a prediction: defaults of an analyzer, and their overrides for one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

from mien.arguments import check_bool, check_integer, check_share
from mien.class_prior import Prior, read_prior
from mien.errors import InputError
from mien.faces.detection import check_detector_size
from mien.imaging import MAX_PIXELS, Color, check_color
from mien.records import unknown_key
from mien.runtime import DETECTOR_SIZE, MIN_CONFIDENCE


class OptionOverrides(TypedDict, total=False):
    """Options of one call, by name; those that are absent keep the analyzer's own value."""

    detector_size: int
    pose: bool
    action_units: bool
    flip_tta: bool
    max_faces: int | None
    min_confidence: float
    max_error: float | None
    prior: Prior | None
    max_pixels: int
    color: Color


@dataclass(frozen=True, kw_only=True)
class AnalysisOptions:
    """Options that may differ from call to call; see `mien.Analyzer` for their meaning.

    Raises:
        InputError: if a value is out of range or of another type; numbers of numpy are accepted.
    """

    detector_size: int = DETECTOR_SIZE
    pose: bool = True
    action_units: bool = False
    flip_tta: bool = False
    max_faces: int | None = None
    min_confidence: float = MIN_CONFIDENCE
    max_error: float | None = None
    prior: Prior | None = None
    max_pixels: int = MAX_PIXELS
    color: Color = "rgb"

    def __post_init__(self) -> None:
        values: dict[str, object] = {
            "detector_size": check_detector_size("detector_size", self.detector_size),
            "pose": check_bool("pose", self.pose),
            "action_units": check_bool("action_units", self.action_units),
            "flip_tta": check_bool("flip_tta", self.flip_tta),
            "min_confidence": check_share("min_confidence", self.min_confidence, with_ends=False, example="0.6"),
            "max_pixels": check_integer("max_pixels", self.max_pixels, 1),
        }
        if self.max_faces is not None:
            values["max_faces"] = check_integer("max_faces", self.max_faces, 1, meaning="(by default all are kept)")
        if self.max_error is not None:
            values["max_error"] = check_share("max_error", self.max_error, example="0.05")
        if self.prior is not None:
            values["prior"] = read_prior(self.prior)
            if self.max_error is not None:
                raise InputError(
                    "max_error cannot be combined with prior: its error rates hold for the class frequencies of the "
                    "validation faces."
                )
        check_color(self.color)
        if values["action_units"] and not values["pose"]:
            raise InputError("action_units is not possible without pose: it needs the face mesh.")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def override(self, **overrides: Unpack[OptionOverrides]) -> AnalysisOptions:
        """Return the options with some changed.

        Raises:
            InputError: if a name is unknown, or a value is out of range or of another type.
        """
        for name in overrides:
            if name not in OptionOverrides.__annotations__:
                raise InputError(unknown_key(name, OptionOverrides.__annotations__, noun="option"))
        return replace(self, **overrides) if overrides else self
