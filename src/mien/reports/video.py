"""The report of an analyzed video: one HTML page that needs nothing else.

The page holds its images, its style and the few lines of its script, and follows the reader's light or dark setting.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from mien.atomic import write_atomic
from mien.reports.face_card import face_card
from mien.reports.thumbnails import Images, Wanted, cut_faces
from mien.reports.video_sections import Page, legend, moment_cards, overview, rest_table
from mien.theme import class_color
from mien.video.timeline import Timeline
from mien.video.transitions import FaceLocation

THUMBNAIL_PX = 88
CLOSE_UP_PX = 144
PERCEIVED = (
    "mien reports the expression that people perceive in a face, not what the person felt. Please read "
    "docs/responsible-use.md before you show or use this."
)
_FOOTER = (
    "Probabilities and labels are smoothed over the last moments. A face keeps its number as long as it stays in its "
    "scene; whether two numbers are the same person, mien does not know."
)


def write_report(
    path: Path,
    timeline: Timeline,
    *,
    title: str,
    facts: Mapping[str, str],
    images: Images | None,
    duration_s: float | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the HTML file.
        timeline: what `summarize_rows` gave.
        title: the page's heading.
        facts: what is told about the video and its analysis, in the order to show; all of it is text.
        images: gives the frames at some ascending moments, one for each, in order, None where there is none; None for
            a stream that was not recorded.
        duration_s: where the time axis ends; with the last face when left out.

    Raises:
        InputError: when a frame is not (H, W, 3) uint8.
    """
    cut = {} if images is None else cut_faces(images, _wanted(timeline))
    page = Page(
        timeline=timeline,
        end_s=max(timeline.end_s, duration_s or 0.0, 1e-3),
        thumbnail=lambda location: cut.get(Wanted(location=location, side=THUMBNAIL_PX)),
        close_up=lambda location: cut.get(Wanted(location=location, side=CLOSE_UP_PX)),
    )
    notes = [] if images is not None else ["The video was not kept, so the report has no images."]
    write_atomic(path, _render(page, title, facts, notes))


def _wanted(timeline: Timeline) -> list[Wanted]:
    """Every face that the page shows an image of."""

    def want(location: FaceLocation, side: int) -> Wanted:
        return Wanted(location=location, side=side)

    thumbnails = [want(location, THUMBNAIL_PX) for track in timeline.tracks for location in track.thumbnails]
    moments = timeline.transitions
    close_ups = [
        want(seen, CLOSE_UP_PX) for item in moments for seen in (item.location_before, item.location_after)
    ]
    return [*thumbnails, *close_ups]


def _render(page: Page, title: str, facts: Mapping[str, str], notes: list[str]) -> str:
    script = files("mien.reports").joinpath("templates/video.js").read_text(encoding="utf-8")
    template = files("mien.reports").joinpath("templates/video.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(title),
        facts=_facts(facts),
        perceived=escape(PERCEIVED),
        body="\n".join(_body(page, notes)),
        footer=escape(_FOOTER),
        colors=_colors(page.timeline.labels),
        labels=escape(json.dumps(page.timeline.labels)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
    )


def _body(page: Page, notes: list[str]) -> list[str]:
    timeline = page.timeline
    if not timeline.tracks:
        return ['<p class="card empty">No face was found in this video.</p>']
    quiet = "".join(f'<p class="quiet note">{escape(note)}</p>' for note in notes)
    faces = page.shown
    heading = "The face" if len(timeline.tracks) == 1 else "Each face"
    parts = [
        _section("overview", "At a glance", legend(page) + overview(page) + quiet),
        _section("faces", heading, "".join(face_card(page, track) for track in faces)),
    ]
    if timeline.transitions:
        parts.append(_section("moments", "Moments of change", moment_cards(page)))
    if len(faces) < len(timeline.tracks):
        parts.append(_section("rest", "Other faces", f'<div class="card">{rest_table(page)}</div>'))
    return parts


def _section(name: str, title: str, content: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>\n{content}\n</section>'


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>' if items else ""


def _colors(labels: tuple[str, ...]) -> str:
    return "\n".join(
        f".c{index} {{ fill: {class_color(name)}; background: {class_color(name)}; }}"
        for index, name in enumerate(labels)
    )
