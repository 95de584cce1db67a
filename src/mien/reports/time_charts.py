"""Drawings of a face over time: SVG without text, stretched to its place, and rows of HTML around it.

All words stand outside the SVG, so that they keep their size on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from mien.reports.time_axis import Span, time_ticks
from mien.video.timeline import ABSENT, UNCLASSIFIED, UNSURE, Curve

_TALL = 200
"""Height of the areas in units: half a per cent each."""
_LEAST = 0.004
SPARE = ' class="spare"'
"""What a phone leaves out for want of room."""
_PHONE_LETTERS = 24


def draw_areas(curve: Curve, span: Span) -> str:
    """Probabilities stacked from the first class at the bottom, with gaps where there are none."""
    edges = np.cumsum(np.nan_to_num(curve.probabilities), axis=1)
    edges /= np.maximum(edges[:, -1:], 1e-9)
    tall = np.rint(_TALL * (1 - edges)).astype(int)
    paths = [""] * tall.shape[1]
    for start, stop in _stretches(np.isfinite(curve.probabilities.sum(axis=1))):
        peaks = curve.probabilities[start:stop].max(axis=0)
        for index in np.flatnonzero(peaks >= _LEAST):
            paths[index] += _area(tall[start:stop, index], start)
    drawn = "".join(
        f'<path class="c{index}" d="{path}"/>' for index, path in reversed(list(enumerate(paths))) if path
    )
    return _svg(drawn, f"0 0 {_wide(curve, span)} {_TALL}", "areas")


def draw_line(values: np.ndarray, low: float, high: float, curve: Curve, span: Span) -> str:
    """One value over time between two limits, broken where it is NaN."""
    height = np.rint(100 * (high - np.clip(values, low, high)) / (high - low))
    path = ""
    for start, stop in _stretches(~np.isnan(values)):
        if stop - start == 1:
            path += f"M{2 * start} {height[start]:.0f}h2"
        else:
            points = height[start:stop].astype(int)
            path += f"M{2 * start + 1} {points[0]}{_steps(points)}"
    return _svg(f'<path d="{path}"/>' if path else "", f"0 0 {_wide(curve, span)} 100", "line")


def draw_states(curve: Curve, span: Span) -> str:
    """The steady label over time as blocks; hatched where it was not sure, a thin line where it was not read."""
    paths: dict[int, str] = {}
    blocks = ""
    ends = np.flatnonzero(np.diff(curve.states, append=ABSENT - 1)) + 1
    start = 0
    for stop in ends.tolist():
        state = int(curve.states[start])
        if state >= 0:
            paths[state] = paths.get(state, "") + f"M{start} 0h{stop - start}v1h-{stop - start}z"
        elif state in (UNSURE, UNCLASSIFIED):
            left = span.percent(curve.start_s + start * curve.width_s)
            right = min(100.0, span.percent(curve.start_s + stop * curve.width_s))
            kind = "unsure" if state == UNSURE else "unread"
            blocks += f'<i class="{kind}" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
        start = stop
    drawn = "".join(f'<path class="c{state}" d="{path}"/>' for state, path in sorted(paths.items()))
    before = (span.start_s - curve.start_s) / curve.width_s
    wide = (span.end_s - span.start_s) / curve.width_s
    return blocks + _svg(drawn, f"{before:.3f} 0 {wide:.3f} 1", "states")


def draw_leaders(lines: Sequence[tuple[float, float]]) -> str:
    """Thin lines from the middle of each image to its moment, both in percent."""
    drawn = "".join(f'<path d="M{10 * slot:.0f} 0L{10 * place:.0f} 10"/>' for slot, place in lines)
    return _svg(drawn, "0 0 1000 10", "leaders")


def share_bar(shares: Sequence[tuple[str, float]]) -> str:
    """One bar of parts that sum to 1: a style name and a share each."""
    parts = "".join(
        f'<i class="{kind}" style="flex-grow:{1000 * share:.0f}"></i>'
        for kind, share in shares
        if share >= _LEAST
    )
    return f'<div class="share" aria-hidden="true">{parts}</div>'


def plot_row(name: str, drawing: str, kind: str, scale: Sequence[str] = ()) -> str:
    """A row of a plot: what it shows, the drawing, and the values at its top and bottom. All but `drawing` is text."""
    ends = "".join(f"<span>{escape(text)}</span>" for text in scale)
    return (
        f'<div class="row {kind}"><span class="name">{escape(name)}</span>'
        f'<div class="lane">{drawing}</div><span class="scale">{ends}</span></div>'
    )


def tick_row(span: Span, end_s: float) -> str:
    """The times under a plot."""
    marks = ""
    ticks = time_ticks(span, end_s)
    for number, (place, text) in enumerate(ticks):
        side = "first" if place < 3 else "last" if place > 97 else ""
        spare = " spare" if number % 2 and len(ticks) * len(text) > _PHONE_LETTERS else ""
        marks += f'<span class="{side}{spare}" style="left:{place:.2f}%">{text}</span>'
    return f'<div class="row ticks" aria-hidden="true"><span></span><div class="lane">{marks}</div></div>'


def upright_lines(places: Sequence[float], kind: str) -> str:
    """Thin lines through all rows of a plot, at percents of its time."""
    return "".join(f'<i class="{kind}" style="left:{place:.2f}%"></i>' for place in places)


def _area(edge: np.ndarray, start: int) -> str:
    """The area from an upper edge down to the ground, in half bins."""
    if len(edge) == 1:
        return f"M{2 * start} {_TALL}V{edge[0]}h2V{_TALL}z"
    return f"M{2 * start} {_TALL}V{edge[0]}h1{_steps(edge)}h1V{_TALL}z"


def _steps(points: np.ndarray) -> str:
    """Lines from the first of some points through all others, two units apart; level ones are drawn as one."""
    path, level = "", 0
    for rise in np.diff(points).tolist():
        if rise == 0:
            level += 2
            continue
        path += f"h{level}" if level else ""
        path += f"l2 {rise}" if rise > 0 else f"l2{rise}"
        level = 0
    return path + (f"h{level}" if level else "")


def _stretches(there: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of True."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(int)))
    return zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True)


def _wide(curve: Curve, span: Span) -> str:
    """How many half bins the span shows; the curve starts where the span does."""
    return f"{2 * (span.end_s - span.start_s) / curve.width_s:.3f}"


def _svg(content: str, view: str, kind: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="{view}" preserveAspectRatio="none" aria-hidden="true">{content}</svg>'
    )
