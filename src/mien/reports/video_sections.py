"""The parts of a video's report: overview, one card a face, moments of change, the rest. Every text is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape

from mien.reports import time_charts
from mien.reports.markup import table
from mien.reports.time_axis import Span, clock_text, duration_text
from mien.video.timeline import Timeline, Track
from mien.video.transitions import FaceLocation, Transition

NOT_SURE, NOT_READ = "not sure", "not read"
_LISTED = 200
_SCENE_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Page:
    """What all parts of a report share.

    Attributes:
        timeline: what is shown.
        end_s: where the time axis of the whole video ends.
        thumbnail: data URI of a face's location, or None where there is no image.
        close_up: the same, larger, for the moments of change.
    """

    timeline: Timeline
    end_s: float
    thumbnail: Callable[[FaceLocation], str | None]
    close_up: Callable[[FaceLocation], str | None]

    @property
    def shown(self) -> list[Track]:
        """The faces that are shown whole."""
        return [track for track in self.timeline.tracks if track.curve is not None]

    def name(self, scene: int, track_id: int) -> str:
        """What a face is called: with its scene where the numbers begin anew in every scene."""
        numbers = Counter(track.track_id for track in self.timeline.tracks)
        return f"Face {track_id}, scene {scene}" if numbers[track_id] > 1 else f"Face {track_id}"

    def clock(self, time_s: float, decimals: int = 0) -> str:
        """A time as text, as long as the video needs."""
        return clock_text(time_s, self.end_s, decimals=decimals)

    def chip(self, label: str | None) -> str:
        """A label behind its color, as HTML; None is "not sure"."""
        if label is None:
            return f'<span class="chip"><i class="unsure"></i>{NOT_SURE}</span>'
        return (
            f'<span class="chip"><i class="c{self.timeline.labels.index(label)}"></i>{escape(label)}</span>'
        )


def legend(page: Page) -> str:
    """Which color is which expression, once for the whole page."""
    unread = any(track.unclassified > 0 for track in page.timeline.tracks)
    chips = [page.chip(label) for label in (*page.timeline.labels, None)]
    if unread:
        chips.append(f'<span class="chip"><i class="unread"></i>{NOT_READ}</span>')
    items = "".join(f"<li>{chip}</li>" for chip in chips)
    return f'<ul class="legend" aria-label="Colors">{items}</ul>'


def overview(page: Page) -> str:
    """All shown faces on one time axis, with the scenes."""
    span = Span(start_s=0.0, end_s=page.end_s)
    rows = "".join(_overview_row(page, track, span) for track in page.shown)
    scenes = page.timeline.scenes
    cuts = [span.percent(start_s) for _, start_s in scenes[1:]] if len(scenes) <= _SCENE_LINES else []
    over = f'<div class="over">{time_charts.upright_lines(cuts, "cut")}</div>'
    plot = f'<div class="overview plot">{rows}{time_charts.tick_row(span, page.end_s)}{over}</div>'
    return f'<div class="card">{_together(page)}{plot}</div>{_overview_note(page)}'


def _overview_row(page: Page, track: Track, span: Span) -> str:
    assert track.curve is not None  # only such tracks are shown
    name = page.name(track.scene, track.track_id)
    picture = page.thumbnail(best_thumbnail(track)) if track.thumbnails else None
    image = f'<img src="{picture}" alt="">' if picture else ""
    told = f"{name}: {seen_text(page, track)}; {_shares_text(track)}"
    return (
        f'<a class="row" href="#{anchor_of(track)}" aria-label="{escape(told)}"><span class="name">{image}'
        f'<span>{escape(name)}</span></span><div class="lane">{time_charts.draw_states(track.curve, span)}</div>'
        f'<span class="scale">{duration_text(track.seconds)}</span></a>'
    )


def _together(page: Page) -> str:
    """The share of each expression in the time of all faces; nothing where there is one face."""
    tracks = page.timeline.tracks
    if len(tracks) < 2:
        return ""
    total = max(sum(track.seconds for track in tracks), 1e-9)
    shares = {
        name: sum(track.shares[name] * track.seconds for track in tracks) / total
        for name in page.timeline.labels
    }
    unsure = sum(track.unsure * track.seconds for track in tracks) / total
    unread = sum(track.unclassified * track.seconds for track in tracks) / total
    return (
        f'<div class="together"><h3>All faces together</h3>{shares_list(page, shares, unsure, unread)}</div>'
    )


def _overview_note(page: Page) -> str:
    timeline = page.timeline
    notes = []
    if len(page.shown) < len(timeline.tracks):
        notes.append(f"The {len(page.shown)} faces seen longest, of {len(timeline.tracks):,}.")
    if 1 < len(timeline.scenes) <= _SCENE_LINES:
        notes.append(
            "Dashed lines are cuts from scene to scene, drawn where the first face of a scene appears."
        )
    return f'<p class="quiet note">{" ".join(notes)}</p>' if notes else ""


def shares_list(page: Page, shares: Mapping[str, float], unsure: float, unread: float) -> str:
    """How the time is shared out: a bar, and the same in words."""
    names = {name: f"c{index}" for index, name in enumerate(page.timeline.labels)}
    parts = sorted(
        ((share, names[name], page.chip(name)) for name, share in shares.items()), key=lambda p: -p[0]
    )
    parts.append((unsure, "unsure", page.chip(None)))
    parts.append((unread, "unread", f'<span class="chip"><i class="unread"></i>{NOT_READ}</span>'))
    there = [part for part in parts if part[0] >= 0.0005]
    items = "".join(f"<li>{chip} <b>{percent_text(share)}</b></li>" for share, _, chip in there)
    return (
        time_charts.share_bar([(kind, share) for share, kind, _ in there])
        + f'<ul class="shares">{items}</ul>'
    )


def moment_cards(page: Page) -> str:
    """Each moment of change: the face before and after, and what changed."""
    moments = page.timeline.transitions
    cards = "".join(_moment(page, moment) for moment in moments)
    left_out = page.timeline.transition_count - len(moments)
    note = (
        f'<p class="quiet note">The {len(moments)} clearest of {page.timeline.transition_count:,}: '
        f"{left_out:,} shorter or less certain ones are left out.</p>"
        if left_out
        else ""
    )
    return f'<ul class="moments">{cards}</ul>{note}'


def _moment(page: Page, moment: Transition) -> str:
    name = page.name(moment.scene, moment.track_id)
    sides = (moment.before, moment.location_before), (moment.after, moment.location_after)
    figures = ""
    for label, location in sides:
        picture = page.close_up(location)
        told = f"{name}, {label}, at {page.clock(location.timestamp_s, 1)}"
        image = f'<img src="{picture}" alt="{escape(told)}" loading="lazy">' if picture else ""
        color = page.timeline.labels.index(label)
        figures += f'<div class="side"><i class="c{color}"></i>{image}<span>{escape(label)}</span></div>'
    return (
        f'<li class="card"><p><b>{page.clock(moment.timestamp_s, 1)}</b>'
        f'<span class="quiet">{escape(name)}</span></p><div class="sides">{figures}</div></li>'
    )


def rest_table(page: Page) -> str:
    """The faces that are not shown whole, the ones seen longest first."""
    rest = sorted((t for t in page.timeline.tracks if t.curve is None), key=lambda track: -track.seconds)
    rows = [
        [
            escape(page.name(track.scene, track.track_id)),
            str(track.scene),
            page.clock(track.first_s, 1),
            duration_text(track.seconds),
            _row_label(page, track),
        ]
        for track in rest[:_LISTED]
    ]
    head = ["face", "scene", "first seen", "seen for", "mostly"]
    unlisted = len(rest) - len(rows)
    note = f'<p class="quiet note">And {unlisted:,} seen even shorter.</p>' if unlisted else ""
    return table(f"{len(rest):,} faces that were seen shorter", head, rows) + note


def best_thumbnail(track: Track) -> FaceLocation:
    """The image that stands for a face: the one where it is largest."""
    return max(track.thumbnails, key=lambda location: location.bbox_xyxy[2] - location.bbox_xyxy[0])


def anchor_of(track: Track) -> str:
    """The id of a face's card."""
    return f"face-{track.scene}-{track.track_id}"


def seen_text(page: Page, track: Track) -> str:
    """When and for how long a face was seen; text without anything to escape."""
    text = f"{page.clock(track.first_s, 1)} to {page.clock(track.last_s, 1)}"
    there = track.last_s - track.first_s
    if there - track.seconds > 0.05 * there:
        text += f", there for {duration_text(track.seconds)}"
    return f"{text}, scene {track.scene}" if len(page.timeline.scenes) > 1 else text


def percent_text(share: float) -> str:
    """A share for reading.

    Example:
        >>> percent_text(0.423), percent_text(0.004)
        ('42 %', '< 1 %')
    """
    return f"{share:.0%}".replace("%", " %") if share >= 0.01 else "< 1 %"


def main_text(track: Track) -> str:
    """What a face showed for most of its time; text."""
    if track.main_label is not None:
        return f"mostly {track.main_label}"
    return NOT_READ if track.unclassified > track.unsure else f"mostly {NOT_SURE}"


def _shares_text(track: Track) -> str:
    parts = sorted(track.shares.items(), key=lambda item: -item[1])
    told = [*parts, (NOT_SURE, track.unsure), (NOT_READ, track.unclassified)]
    return ", ".join(f"{name} {percent_text(share)}" for name, share in told if share >= 0.0005)


def _row_label(page: Page, track: Track) -> str:
    if track.main_label is None:
        return f'<span class="quiet">{main_text(track).removeprefix("mostly ")}</span>'
    return f"{page.chip(track.main_label)} {percent_text(track.shares[track.main_label])}"
