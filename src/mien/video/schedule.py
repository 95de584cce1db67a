"""Schedule of detection over time or frames; faces are tracked in between."""

from __future__ import annotations

from typing import Any

from mien.arguments import check_integer

DETECTION_INTERVAL_S = 0.09
"""Minimum time between two detections: every third frame at 25 or 30 frames per second, every frame up to 11."""
PAUSE_FACTOR = 1.5
"""Pause after a detection of a live source, as a multiple of its duration."""
MAX_PAUSE_S = 0.5
"""Maximum pause after a detection of a live source, for slow machines."""
_AVERAGE_WEIGHT = 0.2


class DetectionSchedule:
    """Decides in which frames faces are detected: by time, so that the frame rate does not matter.

    Args:
        every: detect in every Nth frame instead.

    Attributes:
        every: as given.
        detected_s: time of the last detection; None before the first one of a scene.
        max_gap_s: longest time between two detections of a scene so far.

    Raises:
        InputError: when `every` is not an integer above 0.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = None if every is None else check_integer("detect_every", every, 1, meaning="(1 is all frames)")
        self.detected_s: float | None = None
        self.max_gap_s = 0.0
        self._frames = 0
        self._duration_s = 0.0

    @property
    def period_s(self) -> float:
        """Minimum time from one detection to the next, in seconds."""
        return max(DETECTION_INTERVAL_S, self._duration_s + min(MAX_PAUSE_S, PAUSE_FACTOR * self._duration_s))

    def is_due(self, timestamp_s: float) -> bool:
        """Return True when faces are to be detected in the next frame."""
        if self.detected_s is None:
            return True
        if self.every is not None:
            return self._frames + 1 >= self.every
        return timestamp_s - self.detected_s >= self.period_s

    def add(self, timestamp_s: float, *, has_detected: bool) -> None:
        """Add a frame, with or without detection."""
        self._frames = 0 if has_detected else self._frames + 1
        if has_detected:
            if self.detected_s is not None:
                self.max_gap_s = max(self.max_gap_s, timestamp_s - self.detected_s)
            self.detected_s = timestamp_s

    def slow_down(self, duration_s: float) -> None:
        """Add the duration of a detection, for a live source: later ones leave time for the frames in between."""
        if self._duration_s:
            duration_s = self._duration_s + _AVERAGE_WEIGHT * (duration_s - self._duration_s)
        self._duration_s = duration_s

    def restart(self) -> None:
        """Make the next frame due."""
        self.detected_s = None

    def state(self) -> dict[str, Any]:
        """Return the time of the last detection, the frames since then and the longest gap as JSON values, exact."""
        return {"detected_s": self.detected_s, "frames": self._frames, "max_gap_s": self.max_gap_s}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self.detected_s = state["detected_s"]
        self._frames = state["frames"]
        self.max_gap_s = state["max_gap_s"]
