"""Temporal smoothing of expressions: a low-pass filter of the probabilities and hysteresis of the label.

The filter is first order in continuous time, so that frame rate and gaps between predictions do not change the curve.
Predictions of low quality get a low weight.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.arguments import check_number
from mien.results import Expression, Quality

TIME_CONSTANT_S = 0.2
"""Time constant by default: with a prediction every 0.12 s a label changes at the second one that differs, and a single
wrong prediction changes none."""
HYSTERESIS = 0.1
"""Margin of probability by which another class replaces the label, by default."""
FULL_SIZE_PX = 40.0
"""Size from which on a face has its full weight."""
MIN_WEIGHT = 0.1
"""Minimum weight of a prediction."""


def prediction_weight(quality: Quality | None) -> float:
    """Return the weight of a prediction, 0.1..1: the product of frontality, visible share and size (up to 40 px).

    Unknown values count as 0.5.
    """
    if quality is None:
        return 0.5
    frontality = 0.5 if quality.frontality is None else quality.frontality
    return max(MIN_WEIGHT, frontality * quality.visible * min(1.0, quality.size_px / FULL_SIZE_PX))


def filter_gain(elapsed_s: float, weight: float, time_constant_s: float) -> float:
    """Return the share 0..1 by which the filter moves towards a new value; 1 for a time constant of 0."""
    return -math.expm1(-max(0.0, elapsed_s) * weight / time_constant_s) if time_constant_s > 0 else 1.0


@dataclass
class _Track:
    timestamp_s: float
    probabilities: np.ndarray
    label: str | None
    affect: tuple[float, float] | None


class Smoother:
    """Smooths the expressions of tracked faces.

    Args:
        labels: class names, in the order of the model's manifest.
        abstain_below: minimum smoothed probability of a label; below it the label is None.
        smoothing_s: time constant of the filter; 0 for no filter.
        hysteresis: margin by which the smoothed probability of another class has to exceed that of the label to
            replace it. A label is dropped without a replacement only below `abstain_below` minus half of this.

    Raises:
        InputError: when an argument is out of range.
    """

    def __init__(
        self,
        labels: Sequence[str],
        abstain_below: float = 0.0,
        *,
        smoothing_s: float = TIME_CONSTANT_S,
        hysteresis: float = HYSTERESIS,
    ) -> None:
        self.labels = tuple(labels)
        self.abstain_below = abstain_below
        self.time_constant_s = check_number(
            "smoothing_s", smoothing_s, lambda number: 0 <= number <= 60, "0 (no filter) to 60 seconds"
        )
        self.hysteresis = check_number("hysteresis", hysteresis, lambda number: 0 <= number < 1, "0 to below 1")
        self._tracks: dict[int, _Track] = {}

    @property
    def delay_ms(self) -> float:
        """Milliseconds from a sudden, complete change of expression to the change of the label, at weight 1."""
        return -1000 * self.time_constant_s * math.log((1 - self.hysteresis) / 2)

    def add(self, track_id: int, timestamp_s: float, expression: Expression, weight: float = 1.0) -> Expression:
        """Add a prediction and return the smoothed expression of its face.

        Args:
            track_id: number of the face.
            timestamp_s: time in seconds, not before the face's last prediction.
            expression: the prediction.
            weight: 0..1; see `prediction_weight`.
        """
        track = self._tracks.get(track_id)
        if track is None:
            self._tracks[track_id] = track = _Track(
                timestamp_s, expression.probabilities.astype(np.float64), None, expression.trained_affect
            )
        else:
            gain = filter_gain(timestamp_s - track.timestamp_s, weight, self.time_constant_s)
            track.probabilities = track.probabilities + gain * (expression.probabilities - track.probabilities)
            track.affect = _blend(track.affect, expression.trained_affect, gain)
            track.timestamp_s = timestamp_s
        track.label = self._label(track)
        return self._expression(track)

    def last(self, track_id: int) -> Expression | None:
        """Return the smoothed expression after the last prediction of a face; None without a prediction."""
        track = self._tracks.get(track_id)
        return None if track is None else self._expression(track)

    def retain(self, track_ids: Collection[int] = ()) -> None:
        """Drop all but some faces; all faces by default."""
        self._tracks = {track_id: track for track_id, track in self._tracks.items() if track_id in track_ids}

    def state(self) -> dict[str, Any]:
        """Return all faces as JSON values, exact."""
        return {
            str(track_id): [track.timestamp_s, track.probabilities.tolist(), track.label, track.affect]
            for track_id, track in self._tracks.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self._tracks = {
            int(track_id): _Track(
                timestamp_s, np.array(probabilities, dtype=np.float64), label, None if affect is None else tuple(affect)
            )
            for track_id, (timestamp_s, probabilities, label, affect) in state.items()
        }

    def _label(self, track: _Track) -> str | None:
        best = int(track.probabilities.argmax())
        if track.label is not None:
            own = track.probabilities[self.labels.index(track.label)]
            is_exceeded = track.probabilities[best] - own > self.hysteresis
            if not is_exceeded and own >= self.abstain_below - self.hysteresis / 2:
                return track.label
        return self.labels[best] if track.probabilities[best] >= self.abstain_below else None

    def _expression(self, track: _Track) -> Expression:
        probabilities = track.probabilities
        confidence = probabilities.max() if track.label is None else probabilities[self.labels.index(track.label)]
        return Expression(
            labels=self.labels,
            probabilities=probabilities.astype(np.float32),
            label=track.label,
            confidence=float(confidence),
            trained_affect=track.affect,
        )


def _blend(old: tuple[float, float] | None, new: tuple[float, float] | None, gain: float) -> tuple[float, float] | None:
    """Return valence and arousal moved by a gain towards new values; the new ones where either is missing."""
    if old is None or new is None:
        return new
    return old[0] + gain * (new[0] - old[0]), old[1] + gain * (new[1] - old[1])
