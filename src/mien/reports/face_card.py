"""Content of a face's card in the video report: images, charts over time and a table of values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.number_format import UNDEFINED, clock, decimal, duration, whole_percent
from mien.reports import time_charts
from mien.reports.movement_charts import AffectPlane, affect_plane, affect_values, strongest_units
from mien.reports.speaking import voice_chart
from mien.reports.time_charts import Chart, Span, Tick, state_css
from mien.video.face_rows import FaceLocation
from mien.video.timeline import ABSENT, UNCLASSIFIED, UNSURE, Curve, Track, count_thumbnails
from mien.video.turns import SpeakingTurn

NOT_SURE = "not sure"
NOT_CLASSIFIED = "not classified"
TABLE_ROWS = 12
_TABLE_UNITS = ("yaw °", "pitch °", "roll °", "sharp %", "frontal %")
MAX_ANGLE_DEG = 60
"""Limit of the yaw and pitch charts."""
PHONE_IMAGES = 5
"""Images of a film strip on a phone; every second one is hidden when there are more."""

Thumbnail = Callable[[FaceLocation], str | None]
"""Returns the data URI of a face, or None without an image."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Share of the time with one state: CSS class of its color, its name, 0..1."""

    css: str
    label: str
    share: float


@dataclass(frozen=True, kw_only=True)
class FilmImage:
    """One image of a film strip: data URI, time as text, position in percent, hidden on a phone or not."""

    uri: str
    time: str
    left: float
    is_spare: bool


@dataclass(frozen=True, kw_only=True)
class PlotRow:
    """One chart of a plot: name of the values, CSS classes, SVG paths, texts of the value axis from top to bottom."""

    name: str
    css: str
    chart: Chart
    scale: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FaceCard:
    """Content of a face's card.

    Attributes:
        anchor: id of the card.
        name: display name of the face.
        thumbnail: data URI of the face, or None.
        main: dominant label as text.
        times: when the face was visible, as text.
        shares: share of the time by state, the largest first.
        columns: number of images that fit on the film strip.
        film: images of the face over time.
        leaders: lines from the images to their times, or None.
        span: start and end of the charts in seconds.
        rows: charts over time.
        ticks: labels of the time axis.
        movements: names of the action units in the charts, and the rate of blinks, as text; empty without them.
        affect: the plane of valence and arousal, or None.
        values: values at each time for the page's script.
        head: names of the table's columns.
        table: values at a few times as text.
    """

    anchor: str
    name: str
    thumbnail: str | None
    main: str
    times: str
    shares: list[Share]
    columns: int
    film: list[FilmImage]
    leaders: Chart | None
    span: tuple[float, float]
    rows: list[PlotRow]
    ticks: list[Tick]
    movements: list[str]
    affect: AffectPlane | None
    values: dict[str, Any]
    head: list[str]
    table: list[list[str]]

    @property
    def is_dense(self) -> bool:
        """True when a phone shows only every second image."""
        return self.columns > PHONE_IMAGES


def make_card(
    track: Track,
    curve: Curve,
    *,
    name: str,
    times: str,
    labels: Sequence[str],
    length_s: float,
    thumbnail: Thumbnail,
    turns: Sequence[SpeakingTurn] = (),
    has_trained_affect: bool = False,
) -> FaceCard:
    """Return the card of a face in a video of `length_s` seconds; see `FaceCard` for `name` and `times`."""
    span = Span(start_s=track.first_s, end_s=max(track.last_s, track.first_s + 1e-3))
    columns = count_thumbnails(track.first_s, track.last_s)
    film, leaders = _film(track, span, columns, length_s, thumbnail)
    return FaceCard(
        anchor=anchor_of(track),
        name=name,
        thumbnail=portrait(track, thumbnail),
        main=main_text(track),
        times=times,
        shares=time_shares(labels, track.shares.values(), track.unsure, track.unclassified),
        columns=columns,
        film=film,
        leaders=leaders,
        span=(round(span.start_s, 3), round(span.end_s, 3)),
        rows=_plot_rows(curve, span, turns),
        ticks=time_charts.make_ticks(span, length_s),
        movements=_movements(track, curve),
        affect=affect_plane(curve, span, length_s, is_trained=has_trained_affect),
        values=_script_values(curve, span, length_s),
        head=["time", "label", *(f"{label} %" for label in labels), *_TABLE_UNITS],
        table=_table(curve, labels, length_s),
    )


def time_shares(labels: Sequence[str], shares: Iterable[float], unsure: float, unclassified: float) -> list[Share]:
    """Return the states that took a visible share of the time: labels by descending share, then the others."""
    items = [
        Share(css=f"c{index}", label=label, share=share)
        for index, (label, share) in enumerate(zip(labels, shares, strict=True))
    ]
    items.sort(key=lambda item: -item.share)
    items.append(Share(css=state_css(UNSURE), label=NOT_SURE, share=unsure))
    items.append(Share(css=state_css(UNCLASSIFIED), label=NOT_CLASSIFIED, share=unclassified))
    return [item for item in items if item.share >= 0.0005]


def describe_shares(shares: Iterable[Share]) -> str:
    """Return shares as text."""
    return ", ".join(f"{item.label} {whole_percent(item.share)}" for item in shares)


def main_text(track: Track) -> str:
    """Return the dominant label of a face as text."""
    if track.main_label is not None:
        return f"mostly {track.main_label}"
    return NOT_CLASSIFIED if track.unclassified > track.unsure else f"mostly {NOT_SURE}"


def times_text(track: Track, *, length_s: float, has_scenes: bool) -> str:
    """Return when and for how long a face was visible."""
    text = f"{clock(track.first_s, length_s, decimals=1)} to {clock(track.last_s, length_s, decimals=1)}"
    span_s = track.last_s - track.first_s
    if span_s - track.seconds > 0.05 * span_s:
        text += f", visible for {duration(track.seconds)}"
    return f"{text}, scene {track.scene}" if has_scenes else text


def portrait(track: Track, thumbnail: Thumbnail) -> str | None:
    """Return the largest image of a face, or None."""
    if not track.thumbnails:
        return None
    return thumbnail(max(track.thumbnails, key=lambda location: location.bbox_xyxy[2] - location.bbox_xyxy[0]))


def anchor_of(track: Track) -> str:
    """Return the id of a face's card."""
    return f"face-{track.scene}-{track.track_id}"


def _film(
    track: Track, span: Span, columns: int, length_s: float, thumbnail: Thumbnail
) -> tuple[list[FilmImage], Chart | None]:
    """Return the images of a face side by side, and the lines to their times."""
    film = []
    lines = []
    for location in track.thumbnails:
        if (uri := thumbnail(location)) is None:
            continue
        place = span.position(location.timestamp_s)
        number = min(int(place * columns / 100), columns - 1)
        slot = (number + 0.5) * 100 / columns
        is_spare = columns > PHONE_IMAGES and number % 2 == 1
        time = clock(location.timestamp_s, length_s, decimals=1)
        film.append(FilmImage(uri=uri, time=time, left=slot, is_spare=is_spare))
        lines.append((slot, place))
    return film, time_charts.leader_chart(lines) if lines and columns > 1 else None


def _plot_rows(curve: Curve, span: Span, turns: Sequence[SpeakingTurn]) -> list[PlotRow]:
    """Return the charts of a face; values that are never known have no chart."""
    rows = []
    if np.isfinite(curve.probabilities).any():
        chart = time_charts.area_chart(curve, span)
        rows.append(PlotRow(name="probability", css="tall", chart=chart, scale=("100%", "50", "0")))
    rows.append(PlotRow(name="label", css="strip", chart=time_charts.state_chart(curve, span)))
    if turns:
        scale = ("excited", "calm")
        rows.append(PlotRow(name="voice", css="small zero", chart=voice_chart(turns, span), scale=scale))
    for unit in strongest_units(curve):
        chart = time_charts.level_chart(curve.columns[unit.name], curve, span)
        rows.append(PlotRow(name=unit.name, css="unit", chart=chart))
    size = curve.quality[:, 2]
    limit = _round_up(float(np.nan_to_num(size).max()))
    angles = (-MAX_ANGLE_DEG, MAX_ANGLE_DEG, (f"+{MAX_ANGLE_DEG}°", f"−{MAX_ANGLE_DEG}°"))
    for name, css, values, low, high, scale in (
        ("yaw", "small zero", curve.pose_deg[:, 0], *angles),
        ("pitch", "small zero", curve.pose_deg[:, 1], *angles),
        ("sharpness", "small", curve.quality[:, 0], 0, 1, ("1", "0")),
        ("face size", "small", size, 0, limit, (f"{limit} px", "0")),
    ):
        if np.isfinite(values).any():
            chart = time_charts.line_chart(values, low, high, curve, span)
            rows.append(PlotRow(name=name, css=css, chart=chart, scale=scale))
    return rows


def _movements(track: Track, curve: Curve) -> list[str]:
    """Return the names of the strongest action units, and the rate of blinks."""
    texts = [f"{unit.name} {unit.description}" for unit in strongest_units(curve)]
    if track.blinks_per_minute is not None:
        texts.append(f"{decimal(track.blinks_per_minute, 1)} blinks per minute")
    return texts


def _table(curve: Curve, labels: Sequence[str], length_s: float) -> list[list[str]]:
    """Return the values at a few times as text, for readers who do not see the charts."""
    bins = np.unique(np.linspace(0, len(curve.states) - 1, TABLE_ROWS).round().astype(int)).tolist()
    others = {UNSURE: NOT_SURE, UNCLASSIFIED: NOT_CLASSIFIED, ABSENT: "absent"}
    rows = []
    for index in bins:
        state = int(curve.states[index])
        time_s = max(curve.start_s + (index + 0.5) * curve.width_s, 0)
        values = [*curve.probabilities[index] * 100, *curve.pose_deg[index], *curve.quality[index][:2] * 100]
        numbers = [UNDEFINED if math.isnan(value) else str(round(value)) for value in values]
        label = labels[state] if state >= 0 else others[state]
        rows.append([clock(time_s, length_s, decimals=1), label, *numbers])
    return rows


def _script_values(curve: Curve, span: Span, length_s: float) -> dict[str, Any]:
    """Return the values at each time that the page's script shows, ready for JSON."""

    def rounded(values: np.ndarray) -> list[int | None]:
        return [None if np.isnan(value) else round(value) for value in values.tolist()]

    return {
        "start": round(curve.start_s, 3),
        "width": curve.width_s,
        "end": round(span.end_s, 3),
        "video": round(length_s, 3),
        "states": curve.states.tolist(),
        "shares": [rounded(row) for row in curve.probabilities * 100],
        "yaw": rounded(curve.pose_deg[:, 0]),
        "pitch": rounded(curve.pose_deg[:, 1]),
        "roll": rounded(curve.pose_deg[:, 2]),
        "sharp": rounded(curve.quality[:, 0] * 100),
        **affect_values(curve),
    }


def _round_up(value: float) -> int:
    """Return the next 1, 2, 3, 5 or 8 times a power of ten, at least 10."""
    power = 10 ** max(1, math.floor(math.log10(max(value, 10))))
    return next((factor * power for factor in (1, 2, 3, 5, 8) if factor * power >= value), 10 * power)
