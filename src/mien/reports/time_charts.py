"""Time axis and SVG path data of a face over time.

Charts contain no text and are stretched to their lane; the page writes all text outside them, so that it keeps its size
on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mien.number_format import clock
from mien.video.timeline import ABSENT, UNCLASSIFIED, UNSURE, Curve

MIN_SHARE = 0.004
"""Smaller probabilities and shares of time are not drawn."""
_AREA_HEIGHT = 200
"""Height of an area chart in units of half a percent."""
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_MAX_TICKS = 8
_PHONE_CHARACTERS = 24
"""Characters of tick labels that fit next to each other on a phone."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Time range of a plot, in seconds."""

    start_s: float
    end_s: float

    def position(self, time_s: float) -> float:
        """Return the position of a time in percent, 0 at the start and 100 at the end.

        Example:
            >>> Span(start_s=10, end_s=20).position(12.5)
            25.0
        """
        return 100 * (time_s - self.start_s) / max(self.end_s - self.start_s, 1e-9)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Label of a time axis: position in percent, time as text, CSS classes.

    The classes are `first` and `last` at the ends, and `spare` for a tick that is hidden on a phone.
    """

    left: float
    text: str
    css: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """SVG paths of a chart.

    Attributes:
        css: CSS class of the SVG.
        view_box: viewBox of the SVG.
        paths: CSS class and data of each path.
        blocks: CSS class, left and width in percent of each block beside the paths.
    """

    css: str
    view_box: str
    paths: tuple[tuple[str, str], ...]
    blocks: tuple[tuple[str, float, float], ...] = ()


def make_ticks(span: Span, length_s: float) -> list[Tick]:
    """Return ticks at round times within a span of a video that lasts `length_s` seconds.

    Example:
        >>> [tick.text for tick in make_ticks(Span(start_s=0, end_s=4), 4)][:3]
        ['0.0 s', '0.5 s', '1.0 s']
    """
    duration_s = span.end_s - span.start_s
    step = next((step for step in _STEPS_S if duration_s / step <= _MAX_TICKS), _STEPS_S[-1])
    while duration_s / step > _MAX_TICKS:
        step *= 2
    first = int(-(-(span.start_s - 1e-6) // step))
    last = int((span.end_s + 1e-6) // step)
    decimals = 0 if step >= 1 else 1
    places = [span.position(number * step) for number in range(first, last + 1)]
    texts = [clock(number * step, length_s, decimals=decimals) for number in range(first, last + 1)]
    is_dense = len(texts) * max(map(len, texts), default=0) > _PHONE_CHARACTERS
    ticks = []
    for number, (left, text) in enumerate(zip(places, texts, strict=True)):
        end = "first" if left < 3 else "last" if left > 97 else ""
        spare = " spare" if is_dense and number % 2 else ""
        ticks.append(Tick(left=left, text=text, css=end + spare))
    return ticks


def area_chart(curve: Curve, span: Span) -> Chart:
    """Return the probabilities as stacked areas, the first class at the bottom, with gaps where there are none."""
    edges = np.cumsum(np.nan_to_num(curve.probabilities), axis=1)
    edges /= np.maximum(edges[:, -1:], 1e-9)
    heights = np.rint(_AREA_HEIGHT * (1 - edges)).astype(int)
    paths = [""] * heights.shape[1]
    for start, stop in runs(np.isfinite(curve.probabilities.sum(axis=1))):
        peaks = curve.probabilities[start:stop].max(axis=0)
        for index in np.flatnonzero(peaks >= MIN_SHARE):
            paths[index] += _area_path(heights[start:stop, index], start, _AREA_HEIGHT)
    drawn = [(f"c{index}", path) for index, path in enumerate(paths) if path]
    return Chart(css="areas", view_box=f"0 0 {_width(curve, span)} {_AREA_HEIGHT}", paths=tuple(drawn[::-1]))


def line_chart(values: np.ndarray, low: float, high: float, curve: Curve, span: Span) -> Chart:
    """Return values (T,) over time as a line between two limits, interrupted where they are NaN."""
    height = np.rint(100 * (high - np.clip(values, low, high)) / (high - low))
    path = ""
    for start, stop in runs(~np.isnan(values)):
        if stop - start == 1:
            path += f"M{2 * start} {height[start]:.0f}h2"
        else:
            points = height[start:stop].astype(int)
            path += f"M{2 * start + 1} {points[0]}{_line_path(points)}"
    view_box = f"0 0 {_width(curve, span)} 100"
    return Chart(css="line", view_box=view_box, paths=(("", path),) if path else ())


def level_chart(values: np.ndarray, curve: Curve, span: Span) -> Chart:
    """Return values (T,) from 0 to 1 over time as an area from the bottom, with gaps where they are NaN."""
    heights = np.rint(100 * (1 - np.clip(np.nan_to_num(values), 0, 1))).astype(int)
    path = "".join(_area_path(heights[start:stop], start, 100) for start, stop in runs(~np.isnan(values)))
    return Chart(css="levels", view_box=f"0 0 {_width(curve, span)} 100", paths=(("", path),) if path else ())


def state_chart(curve: Curve, span: Span) -> Chart:
    """Return the stable label over time as blocks, with other CSS classes for "not sure" and "not classified"."""
    paths: dict[int, str] = {}
    blocks = []
    start = 0
    for stop in (np.flatnonzero(np.diff(curve.states, append=ABSENT - 1)) + 1).tolist():
        state = int(curve.states[start])
        if state >= 0:
            paths[state] = paths.get(state, "") + f"M{start} 0h{stop - start}v1h-{stop - start}z"
        elif state in (UNSURE, UNCLASSIFIED):
            left = span.position(curve.start_s + start * curve.width_s)
            right = min(100.0, span.position(curve.start_s + stop * curve.width_s))
            blocks.append((state_css(state), left, right - left))
        start = stop
    x = (span.start_s - curve.start_s) / curve.width_s
    width = (span.end_s - span.start_s) / curve.width_s
    return Chart(
        css="states",
        view_box=f"{x:.3f} 0 {width:.3f} 1",
        paths=tuple((state_css(state), path) for state, path in sorted(paths.items())),
        blocks=tuple(blocks),
    )


def leader_chart(lines: Sequence[tuple[float, float]]) -> Chart:
    """Return thin lines from the center of each image to its time; both positions are in percent."""
    paths = tuple(("", f"M{10 * slot:.0f} 0L{10 * place:.0f} 10") for slot, place in lines)
    return Chart(css="leaders", view_box="0 0 1000 10", paths=paths)


def state_css(state: int) -> str:
    """Return the CSS class of a state of `mien.video.timeline.Curve`."""
    return {UNSURE: "unsure", UNCLASSIFIED: "unclassified"}.get(state, f"c{state}")


def runs(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """Return start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _area_path(edge: np.ndarray, start: int, bottom: int) -> str:
    """Return the area between an upper edge and the bottom, in units of half a bin."""
    if len(edge) == 1:
        return f"M{2 * start} {bottom}V{edge[0]}h2V{bottom}z"
    return f"M{2 * start} {bottom}V{edge[0]}h1{_line_path(edge)}h1V{bottom}z"


def _line_path(points: np.ndarray) -> str:
    """Return the line through points two units apart; horizontal segments are merged."""
    path = ""
    level = 0
    for rise in np.diff(points).tolist():
        if rise == 0:
            level += 2
            continue
        path += f"h{level}" if level else ""
        path += f"l2 {rise}" if rise > 0 else f"l2{rise}"
        level = 0
    return path + (f"h{level}" if level else "")


def _width(curve: Curve, span: Span) -> str:
    """Return the width of a span in half bins."""
    return f"{2 * (span.end_s - span.start_s) / curve.width_s:.3f}"
