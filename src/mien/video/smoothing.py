"""Expressions over time: single readings flicker, what is shown should not.

A first-order low-pass in continuous time, so that any frame rate and any gap between readings gives the same curve;
poor readings count less; and a label stays until another class is clearly ahead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.errors import InputError
from mien.results import Expression, Quality

TIME_CONSTANT_S = 0.2
"""With readings every 0.12 s a label changes with the second one that says so, and a single misreading changes none."""
HYSTERESIS = 0.1
FULL_SIZE_PX = 40.0
"""Faces smaller than this count less."""
MIN_WEIGHT = 0.1


def reading_weight(quality: Quality | None) -> float:
    """How much one reading of a face counts, 0.1..1: its frontality, visible share and size (up to 40 px), multiplied.

    Unknown values count half.
    """
    if quality is None:
        return 0.5
    frontality = 0.5 if quality.frontality is None else quality.frontality
    return max(MIN_WEIGHT, frontality * quality.visible * min(1.0, quality.size_px / FULL_SIZE_PX))


@dataclass
class _Track:
    timestamp_s: float
    probabilities: np.ndarray
    label: str | None


class Smoother:
    """Filters the expressions of many tracks.

    Args:
        labels: class names, in the order of the model's manifest.
        abstain_below: no label when the smoothed probability of its class is smaller.
        time_constant_s: of the filter; 0 does not filter.
        hysteresis: a label gives way to a class whose smoothed probability exceeds its own by this much. A label is
            also lost, to no label, only below `abstain_below` less half of this.

    Raises:
        InputError: when an argument is out of its range.
    """

    def __init__(
        self,
        labels: Sequence[str],
        abstain_below: float = 0.0,
        *,
        time_constant_s: float = TIME_CONSTANT_S,
        hysteresis: float = HYSTERESIS,
    ) -> None:
        if not 0 <= time_constant_s <= 60:
            raise InputError(f"time_constant_s is {time_constant_s}; expected 0 (no filter) to 60 seconds.")
        if not 0 <= hysteresis < 1:
            raise InputError(f"hysteresis is {hysteresis}; expected 0 to below 1.")
        self.labels, self.abstain_below = tuple(labels), abstain_below
        self.time_constant_s, self.hysteresis = time_constant_s, hysteresis
        self._tracks: dict[int, _Track] = {}

    @property
    def delay_ms(self) -> float:
        """Milliseconds from a sudden, complete change of a good face to the change of its label."""
        return -1000 * self.time_constant_s * math.log((1 - self.hysteresis) / 2)

    def add(
        self, track_id: int, timestamp_s: float, expression: Expression, weight: float = 1.0
    ) -> Expression:
        """Take one reading; returns the track's smoothed expression.

        Args:
            track_id: whose.
            timestamp_s: when, in seconds; not before the track's last reading.
            expression: what was read.
            weight: how much it counts, 0..1; see `reading_weight`.
        """
        track = self._tracks.get(track_id)
        if track is None:
            track = _Track(timestamp_s, expression.probabilities.astype(np.float64), None)
            self._tracks[track_id] = track
        else:
            gain = self._gain(timestamp_s - track.timestamp_s, weight)
            track.probabilities = track.probabilities + gain * (
                expression.probabilities - track.probabilities
            )
            track.timestamp_s = timestamp_s
        track.label = self._label(track)
        return self._expression(track)

    def last(self, track_id: int) -> Expression | None:
        """A track's smoothed expression after its last reading; None for one that was never read."""
        track = self._tracks.get(track_id)
        return None if track is None else self._expression(track)

    def forget(self, before_s: float = math.inf) -> None:
        """Forget the tracks whose last reading is before a time; all of them unless it is told."""
        self._tracks = {
            number: track for number, track in self._tracks.items() if track.timestamp_s >= before_s
        }

    def state(self) -> dict[str, Any]:
        """All tracks as plain JSON values, exact."""
        return {
            str(number): [track.timestamp_s, track.probabilities.tolist(), track.label]
            for number, track in self._tracks.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._tracks = {
            int(number): _Track(timestamp_s, np.array(probabilities, dtype=np.float64), label)
            for number, (timestamp_s, probabilities, label) in state.items()
        }

    def _gain(self, elapsed_s: float, weight: float) -> float:
        if self.time_constant_s == 0:
            return 1.0
        return -math.expm1(-max(0.0, elapsed_s) * weight / self.time_constant_s)

    def _label(self, track: _Track) -> str | None:
        best = int(track.probabilities.argmax())
        if track.label is not None:
            own = track.probabilities[self.labels.index(track.label)]
            is_ahead = track.probabilities[best] - own > self.hysteresis
            if not is_ahead and own >= self.abstain_below - self.hysteresis / 2:
                return track.label
        return self.labels[best] if track.probabilities[best] >= self.abstain_below else None

    def _expression(self, track: _Track) -> Expression:
        shown = track.probabilities.max()
        if track.label is not None:
            shown = track.probabilities[self.labels.index(track.label)]
        return Expression(
            labels=self.labels,
            probabilities=track.probabilities.astype(np.float32),
            label=track.label,
            confidence=float(shown),
        )
