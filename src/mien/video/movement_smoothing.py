"""Temporal smoothing of action units and gaze: the low-pass filter of expressions, without hysteresis."""

from __future__ import annotations

from dataclasses import dataclass

from mien.faces.movements import CLOSED_EYES
from mien.results import Face, Gaze
from mien.video.smoothing import filter_gain, prediction_weight


@dataclass(frozen=True, kw_only=True)
class SmoothedMovements:
    """Smoothed action units and gaze of a face after its last prediction.

    Attributes:
        timestamp_s: time of the prediction.
        action_units: intensities 0..1 by name.
        open_gaze: the gaze while the eyes were last open; None if they were not.
    """

    timestamp_s: float
    action_units: dict[str, float]
    open_gaze: Gaze | None

    @property
    def gaze(self) -> Gaze | None:
        """The gaze, held during a blink; None while the eyes are closed for longer."""
        return self.open_gaze if self.action_units["AU43"] <= CLOSED_EYES else None


def smooth_movements(
    previous: SmoothedMovements | None, face: Face, timestamp_s: float, time_constant_s: float
) -> SmoothedMovements | None:
    """Return the smoothed movements of a face after a prediction; None when no mesh fits.

    Args:
        previous: after the last prediction of the face; None starts the filter.
        face: with the movements and the quality of this frame.
        timestamp_s: time of the frame in seconds, not before the last prediction.
        time_constant_s: time constant of the filter; 0 for no filter.
    """
    if face.action_units is None:
        return None
    if previous is None:
        return SmoothedMovements(timestamp_s=timestamp_s, action_units=dict(face.action_units), open_gaze=face.gaze)
    gain = filter_gain(timestamp_s - previous.timestamp_s, prediction_weight(face.quality), time_constant_s)
    units = {name: _blend(previous.action_units[name], value, gain) for name, value in face.action_units.items()}
    return SmoothedMovements(
        timestamp_s=timestamp_s, action_units=units, open_gaze=_blend_gaze(previous.open_gaze, face.gaze, gain)
    )


def _blend(old: float, new: float, gain: float) -> float:
    return old + gain * (new - old)


def _blend_gaze(old: Gaze | None, new: Gaze | None, gain: float) -> Gaze | None:
    if old is None or new is None:
        return new or old
    return Gaze(yaw_deg=_blend(old.yaw_deg, new.yaw_deg, gain), pitch_deg=_blend(old.pitch_deg, new.pitch_deg, gain))
