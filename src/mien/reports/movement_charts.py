"""Charts of a face in the video report: the strongest action units, and the plane of valence and arousal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.action_units import ACTION_UNITS, ActionUnit
from mien.number_format import clock
from mien.reports.time_charts import Span, runs
from mien.video.table import EYE_CLOSURE
from mien.video.timeline import Curve

MAX_UNITS = 6
"""Maximum number of action units with a chart."""
MIN_PEAK = 0.2
"""Action units whose mean in a time bin never reaches this value have no chart."""
AFFECT = ("valence", "arousal")
_PIECES = 24
"""Number of colors of a path from its start to its end."""


@dataclass(frozen=True, kw_only=True)
class AffectPlane:
    """Valence and arousal of a face as a path over time.

    Attributes:
        pieces: share of the time that has passed in percent, and SVG path data, in units of 0.01 with arousal upward.
        means: mean valence and arousal as text.
        source: how the values came about.
        start: time of the first value as text.
        end: time of the last value as text.
    """

    pieces: tuple[tuple[int, str], ...]
    means: tuple[str, str]
    source: str
    start: str
    end: str


def report_columns(action_units: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of a video's table that the charts need; see `mien.video.timeline.summarize_rows`."""
    units = [unit.name for unit in ACTION_UNITS if unit.name in action_units]
    return (*AFFECT, *units, *([EYE_CLOSURE] if units else []))


def strongest_units(curve: Curve) -> list[ActionUnit]:
    """Return the action units with the highest peaks, in the order of their numbers."""
    peaks = {
        unit: float(np.nanmax(curve.columns[unit.name]))
        for unit in ACTION_UNITS
        if unit.name in curve.columns and np.isfinite(curve.columns[unit.name]).any()
    }
    strongest = sorted(peaks, key=lambda unit: -peaks[unit])[:MAX_UNITS]
    return [unit for unit in ACTION_UNITS if unit in strongest and peaks[unit] >= MIN_PEAK]


def affect_plane(curve: Curve, span: Span, length_s: float, *, is_trained: bool) -> AffectPlane | None:
    """Return the path of a face through the plane of valence and arousal; None without values."""
    if not set(AFFECT) <= set(curve.columns):
        return None
    points = np.stack([curve.columns[name] for name in AFFECT], axis=1)
    is_known = np.isfinite(points.sum(axis=1))
    if not is_known.any():
        return None
    means = np.average(points[is_known], axis=0, weights=np.maximum(curve.seconds[is_known], 1e-9))
    valence, arousal = (f"{mean:+.2f}".replace("-", "−") for mean in (means.round(2) + 0.0).tolist())
    return AffectPlane(
        pieces=tuple(_pieces(points, is_known)),
        means=(valence, arousal),
        source="predicted by the model" if is_trained else "derived from the probabilities",
        start=clock(span.start_s, length_s, decimals=1),
        end=clock(span.end_s, length_s, decimals=1),
    )


def affect_values(curve: Curve) -> dict[str, Any]:
    """Return valence and arousal at each time for the page's script, in hundredths; empty without them."""
    if not set(AFFECT) <= set(curve.columns):
        return {}
    return {
        name: [None if np.isnan(value) else round(100 * value) for value in curve.columns[name].tolist()]
        for name in AFFECT
    }


def _pieces(points: np.ndarray, is_known: np.ndarray) -> list[tuple[int, str]]:
    """Return the path in pieces of one color, each up to the first point of the next."""
    places = np.rint(100 * np.clip(points, -1, 1) * [1, -1])
    length = max(1, -(-len(points) // _PIECES))
    pieces = []
    for start, stop in runs(is_known):
        for first in range(start, stop, length):
            part = places[first : min(first + length + 1, stop)].astype(int).tolist()
            line = "L".join(f"{x} {y}" for x, y in part)
            # a path of one point is drawn as a dot
            path = f"M{line}" if len(part) > 1 else f"M{line}h0"
            pieces.append((round(100 * first / len(points)), path))
    return pieces
