"""HTML report of an analyzed video.

The page embeds images, style and a short script; only the annotated copy is a file beside it.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mien.atomic import write_atomic
from mien.number_format import clock
from mien.reports import face_card, speaking, time_charts
from mien.reports.face_card import NOT_CLASSIFIED, NOT_SURE, Share
from mien.reports.page import render
from mien.reports.thumbnails import FrameReader, crop_faces
from mien.reports.time_charts import Span
from mien.video.face_rows import FaceLocation
from mien.video.timeline import UNCLASSIFIED, UNSURE, Timeline, Track
from mien.video.transitions import Transition
from mien.video.turns import SpeakingTurn

THUMBNAIL_PX = 88
CLOSE_UP_PX = 144
MAX_LISTED = 200
"""Maximum number of faces in the list of other faces."""
MAX_SCENE_LINES = 40
"""Scene cuts are drawn up to this number of scenes."""


def write_report(
    path: Path,
    timeline: Timeline,
    *,
    title: str,
    facts: Mapping[str, str],
    images: FrameReader | None,
    duration_s: float | None = None,
    turns: Sequence[SpeakingTurn] = (),
    clip: str | None = None,
    has_trained_affect: bool = False,
) -> None:
    """Write the page of a video atomically.

    Args:
        path: HTML file.
        timeline: result of `mien.video.timeline.summarize_rows`.
        title: heading of the page.
        facts: properties of the video and its analysis as text, in display order.
        images: returns frames of the video by time; None for a stream that was not recorded.
        duration_s: end of the time axis; the end of the last face by default.
        turns: speaking turns; a voice lane is drawn for each face that speaks.
        clip: name of the annotated copy in the same folder, which the page plays; None without one.
        has_trained_affect: true when the model predicts valence and arousal; otherwise they are derived.

    Raises:
        InputError: a frame is not (H, W, 3) uint8.
        MissingExtraError: Jinja2 is not installed.
    """
    page = _Page(timeline, images, max(timeline.end_s, duration_s or 0.0, 1e-3), turns, has_trained_affect)
    html = render("video.html", title=title, facts=facts, clip=clip, **page.values())
    # a file name that is not valid Unicode (a lone surrogate) becomes question marks
    write_atomic(path, html.encode("utf-8", errors="replace"))


class _Page:
    """Values of the template `video.html`."""

    def __init__(
        self,
        timeline: Timeline,
        images: FrameReader | None,
        length_s: float,
        turns: Sequence[SpeakingTurn],
        has_trained_affect: bool,
    ) -> None:
        self._has_trained_affect = has_trained_affect
        self._timeline = timeline
        self._turns = turns
        self._length_s = length_s
        self._shown = [track for track in timeline.tracks if track.curve is not None]
        self._id_counts = Counter(track.track_id for track in timeline.tracks)
        self._has_images = images is not None
        thumbnails = [(item, THUMBNAIL_PX) for track in timeline.tracks for item in track.thumbnails]
        for transition in timeline.transitions:
            thumbnails += [(transition.location_before, CLOSE_UP_PX), (transition.location_after, CLOSE_UP_PX)]
        self._uris = {} if images is None else crop_faces(images, thumbnails)

    def values(self) -> dict[str, Any]:
        timeline = self._timeline
        templates = files("mien.reports").joinpath("templates")
        script = "".join(templates.joinpath(name).read_text(encoding="utf-8") for name in ("video.js", "viewer.js"))
        hidden = sorted((t for t in timeline.tracks if t.curve is None), key=lambda track: -track.seconds)
        span = Span(start_s=0.0, end_s=self._length_s)
        cuts = [span.position(start_s) for _, start_s in timeline.scenes[1:]]
        return {
            "labels": timeline.labels,
            "script": script,
            "script_hash": base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
            "legend": self._legend(),
            "total_shares": self._total_shares(),
            "overview": [self._overview_row(track, span) for track in self._shown],
            "other_voices": self._other_voices(span),
            "span": (span.start_s, round(span.end_s, 3)),
            "overview_ticks": time_charts.make_ticks(span, self._length_s),
            "cuts": cuts if len(cuts) < MAX_SCENE_LINES else [],
            "has_images": self._has_images,
            "face_count": len(timeline.tracks),
            "cards": [self._card(track) for track in self._shown],
            "transitions": [self._transition(transition) for transition in timeline.transitions],
            "transition_count": timeline.transition_count,
            **speaking.table_values(self._turns, self._length_s, self._name),
            "hidden_count": len(hidden),
            "hidden": [self._hidden_row(track) for track in hidden[:MAX_LISTED]],
        }

    def _name(self, scene: int, track_id: int) -> str:
        """Return the name of a face, with its scene if several scenes use the same number."""
        name = f"Face {track_id}"
        return f"{name}, scene {scene}" if self._id_counts[track_id] > 1 else name

    def _clock(self, time_s: float) -> str:
        return clock(time_s, self._length_s, decimals=1)

    def _times(self, track: Track) -> str:
        has_scenes = len(self._timeline.scenes) > 1
        return face_card.times_text(track, length_s=self._length_s, has_scenes=has_scenes)

    def _thumbnail(self, location: FaceLocation) -> str | None:
        return self._uris.get((location, THUMBNAIL_PX))

    def _css(self, label: str) -> str:
        return f"c{self._timeline.labels.index(label)}"

    def _legend(self) -> list[tuple[str, str]]:
        """Return CSS class and name of each state that occurs in the page."""
        states = [(self._css(label), label) for label in self._timeline.labels]
        states.append((time_charts.state_css(UNSURE), NOT_SURE))
        if any(track.unclassified > 0 for track in self._timeline.tracks):
            states.append((time_charts.state_css(UNCLASSIFIED), NOT_CLASSIFIED))
        return states

    def _total_shares(self) -> list[Share]:
        """Return the share of each state in the time of all faces; empty for less than two faces."""
        tracks = self._timeline.tracks
        if len(tracks) < 2:
            return []
        total = max(sum(track.seconds for track in tracks), 1e-9)
        shares = [
            sum(track.shares[label] * track.seconds for track in tracks) / total for label in self._timeline.labels
        ]
        unsure = sum(track.unsure * track.seconds for track in tracks) / total
        unclassified = sum(track.unclassified * track.seconds for track in tracks) / total
        return face_card.time_shares(self._timeline.labels, shares, unsure, unclassified)

    def _overview_row(self, track: Track, span: Span) -> dict[str, Any]:
        assert track.curve is not None
        name = self._name(track.scene, track.track_id)
        shares = face_card.time_shares(self._timeline.labels, track.shares.values(), track.unsure, track.unclassified)
        return {
            "anchor": face_card.anchor_of(track),
            "name": name,
            "description": f"{name}: {self._times(track)}; {face_card.describe_shares(shares)}",
            "thumbnail": face_card.portrait(track, self._thumbnail),
            "chart": time_charts.state_chart(track.curve, span),
            "seconds": track.seconds,
        }

    def _card(self, track: Track) -> face_card.FaceCard:
        assert track.curve is not None
        return face_card.make_card(
            track,
            track.curve,
            name=self._name(track.scene, track.track_id),
            times=self._times(track),
            labels=self._timeline.labels,
            length_s=self._length_s,
            thumbnail=self._thumbnail,
            turns=speaking.turns_of(self._turns, track.scene, track.track_id),
            has_trained_affect=self._has_trained_affect,
        )

    def _other_voices(self, span: Span) -> dict[str, Any] | None:
        """Return the lane of the turns without a face; None without such turns."""
        turns = speaking.turns_without_face(self._turns)
        seconds = sum(turn.end_s - turn.start_s for turn in turns)
        return {"chart": speaking.voice_chart(turns, span), "seconds": seconds} if turns else None

    def _transition(self, transition: Transition) -> dict[str, Any]:
        name = self._name(transition.scene, transition.track_id)
        sides = (transition.before, transition.location_before), (transition.after, transition.location_after)
        return {
            "time": self._clock(transition.timestamp_s),
            "name": name,
            "sides": [
                {
                    "css": self._css(label),
                    "label": label,
                    "image": self._uris.get((location, CLOSE_UP_PX)),
                    "description": f"{name}, {label}, at {self._clock(location.timestamp_s)}",
                }
                for label, location in sides
            ],
        }

    def _hidden_row(self, track: Track) -> dict[str, Any]:
        label = track.main_label
        return {
            "name": self._name(track.scene, track.track_id),
            "scene": track.scene,
            "first": self._clock(track.first_s),
            "seconds": track.seconds,
            "css": None if label is None else self._css(label),
            "label": label or face_card.main_text(track).removeprefix("mostly "),
            "share": None if label is None else track.shares[label],
        }
