"""The options by which predict, video and camera read faces, and the analyzer that they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mien.errors import InputError
from mien.runtime import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.inference.analyzer import Analyzer

FLAG = Parameter(negative="", show_default=False)
"""An option that is only ever switched on."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How faces are found and read.

    Attributes:
        model: a shipped model's name, or the path of an .onnx file with its manifest beside it.
        max_faces: keep only so many faces of an image, the largest.
        min_confidence: least confidence of the face detector, 0..1.
        detector_size: long side in pixels at which faces are searched; 1280 finds smaller ones, more slowly.
        flip_tta: read every face twice, mirrored too, and average: a little better, and slower.
        max_error: no label rather than a wrong one: of the labels given, at most this share was wrong on validation
            faces; 0.05 is 5 %. Without it the model's own, mild rule holds.
        threads: of the networks; 0 lets them choose.
    """

    model: str = DEFAULT_MODEL
    max_faces: int | None = None
    min_confidence: float = 0.6
    detector_size: int = 640
    flip_tta: Annotated[bool, FLAG] = False
    max_error: float | None = None
    threads: int = 0

    def open_analyzer(self) -> Analyzer:
        """The analyzer of these options."""
        from mien.inference.analyzer import Analyzer

        if not 0 < self.min_confidence < 1:
            raise InputError(f"--min-confidence is {self.min_confidence}; expected a number between 0 and 1.")
        return Analyzer(
            self.model,
            detector_size=self.detector_size,
            min_confidence=self.min_confidence,
            max_faces=self.max_faces,
            flip_tta=self.flip_tta,
            max_error=self.max_error,
            threads=self.threads,
        )


AS_TOLD = Reading()
"""Every option as it is unless told."""
