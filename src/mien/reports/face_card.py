"""The card of one face: who, for how long, what share of its time, and what it showed over time."""

from __future__ import annotations

import json
import math
from html import escape

import numpy as np

from mien.reports import time_charts
from mien.reports.markup import table
from mien.reports.time_axis import Span
from mien.reports.video_sections import (
    NOT_READ,
    NOT_SURE,
    Page,
    anchor_of,
    best_thumbnail,
    main_text,
    seen_text,
    shares_list,
)
from mien.video.timeline import ABSENT, UNSURE, Curve, Track, count_thumbnails

_TABLE_ROWS = 12
_ANGLE_DEG = 60
_PHONE_IMAGES = 5


def face_card(page: Page, track: Track) -> str:
    """One face: who, how long, its shares, and what it showed over time."""
    assert track.curve is not None  # only such tracks are shown
    anchor, name = anchor_of(track), page.name(track.scene, track.track_id)
    main = main_text(track)
    picture = page.thumbnail(best_thumbnail(track)) if track.thumbnails else None
    image = f'<img src="{picture}" alt="{escape(name)}">' if picture else ""
    return (
        f'<section class="card face" aria-labelledby="{anchor}"><header>{image}<div>'
        f'<h3 id="{anchor}">{escape(name)} <span class="quiet">{escape(main)}</span></h3>'
        f'<p class="quiet">{seen_text(page, track)}</p></div></header>'
        f"{shares_list(page, track.shares, track.unsure, track.unclassified)}{_plot(page, track, track.curve, name)}"
        f"{_numbers(page, track, track.curve)}</section>"
    )


def _plot(page: Page, track: Track, curve: Curve, name: str) -> str:
    span = Span(start_s=track.first_s, end_s=max(track.last_s, track.first_s + 1e-3))
    rows = [_film(page, track, span)]
    if np.isfinite(curve.probabilities).any():
        rows.append(
            time_charts.plot_row(
                "probability", time_charts.draw_areas(curve, span), "tall", ("100 %", "50", "0")
            )
        )
    rows.append(time_charts.plot_row("label", time_charts.draw_states(curve, span), "strip"))
    yaw, pitch = curve.pose_deg[:, 0], curve.pose_deg[:, 1]
    for title, values in (("yaw", yaw), ("pitch", pitch)):
        if np.isfinite(values).any():
            line = time_charts.draw_line(values, -_ANGLE_DEG, _ANGLE_DEG, curve, span)
            rows.append(
                time_charts.plot_row(title, line, "small zero", (f"+{_ANGLE_DEG}°", f"−{_ANGLE_DEG}°"))
            )
    rows += _quality_rows(curve, span)
    rows.append(time_charts.tick_row(span, page.end_s))
    told = f"{name} over time. Use the left and right arrow keys to read the values."
    return (
        f'<div class="plot" tabindex="0" role="group" aria-label="{escape(told)}" '
        f"data-values='{_values(curve, span, page.end_s)}'>{''.join(rows)}"
        '<div class="over"><i class="cursor"></i><div class="tip" role="status"></div></div></div>'
    )


def _quality_rows(curve: Curve, span: Span) -> list[str]:
    rows = []
    sharpness, size = curve.quality[:, 0], curve.quality[:, 2]
    if np.isfinite(sharpness).any():
        line = time_charts.draw_line(sharpness, 0, 1, curve, span)
        rows.append(time_charts.plot_row("sharpness", line, "small", ("1", "0")))
    if np.isfinite(size).any():
        most = _round_up(float(np.nanmax(size)))
        line = time_charts.draw_line(size, 0, most, curve, span)
        rows.append(time_charts.plot_row("face size", line, "small", (f"{most:.0f} px", "0")))
    return rows


def _film(page: Page, track: Track, span: Span) -> str:
    """The images of a face side by side, each with a line down to its moment."""
    pictures = [(location, page.thumbnail(location)) for location in track.thumbnails]
    taken = [(location, uri) for location, uri in pictures if uri]
    if not taken:
        return ""
    count = count_thumbnails(track.first_s, track.last_s)
    images, lines = "", []
    for location, uri in taken:
        place = span.percent(location.timestamp_s)
        number = min(int(place * count / 100), count - 1)
        slot, spare = (number + 0.5) * 100 / count, count > _PHONE_IMAGES and number % 2 == 1
        when = page.clock(location.timestamp_s, 1)
        images += (
            f'<img{time_charts.SPARE if spare else ""} src="{uri}" alt="at {when}" title="{when}" '
            f'style="left:{slot:.2f}%">'
        )
        lines.append((slot, place))
    many = " many" if count > _PHONE_IMAGES else ""
    leaders = time_charts.draw_leaders(lines) if count > 1 else ""
    lane = f'<div class="film{many}" style="--count:{count}">{images}</div>{leaders}'
    return (
        f'<div class="row films"><span class="name"></span><div class="lane">{lane}</div><span></span></div>'
    )


def _numbers(page: Page, track: Track, curve: Curve) -> str:
    """The same as a table of a few moments, for those who do not see the drawing."""
    picks = np.unique(np.linspace(0, len(curve.states) - 1, _TABLE_ROWS).round().astype(int)).tolist()
    rows = []
    for place in picks:
        state = int(curve.states[place])
        when = page.clock(max(curve.start_s + (place + 0.5) * curve.width_s, 0), 1)
        cells = [*curve.probabilities[place] * 100, *curve.pose_deg[place], *curve.quality[place][:2] * 100]
        label = _state_text(page, state)
        rows.append([when, escape(label), *(_whole(value) for value in cells)])
    head = ["time", "label", *(f"{name} %" for name in page.timeline.labels)]
    head += ["yaw °", "pitch °", "roll °", "sharp %", "frontal %"]
    name = page.name(track.scene, track.track_id)
    return f"<details><summary>Numbers</summary>{table(f'{name} at a few moments', head, rows)}</details>"


def _values(curve: Curve, span: Span, end_s: float) -> str:
    """What the page's script tells at each moment, as JSON for an attribute in single quotes."""

    def whole(values: np.ndarray) -> list[int | None]:
        return [None if np.isnan(value) else round(value) for value in values.tolist()]

    values = {
        "start": round(curve.start_s, 3),
        "width": curve.width_s,
        "end": round(span.end_s, 3),
        "video": round(end_s, 3),
        "states": curve.states.tolist(),
        "shares": [whole(row) for row in curve.probabilities * 100],
        "yaw": whole(curve.pose_deg[:, 0]),
        "pitch": whole(curve.pose_deg[:, 1]),
        "roll": whole(curve.pose_deg[:, 2]),
        "sharp": whole(curve.quality[:, 0] * 100),
    }
    return json.dumps(values, separators=(",", ":"))


def _state_text(page: Page, state: int) -> str:
    if state >= 0:
        return page.timeline.labels[state]
    return {UNSURE: NOT_SURE, ABSENT: "away"}.get(state, NOT_READ)


def _whole(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}"


def _round_up(value: float) -> int:
    """The next number of 1, 2, 3, 5 or 8 times a power of ten, at least 10."""
    power = 10 ** max(1, math.floor(math.log10(max(value, 10))))
    return next((part * power for part in (1, 2, 3, 5, 8) if part * power >= value), 10 * power)
