"""HTML report of a video: content, escaping, images and content security policy."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mien.errors import InputError
from mien.reports.thumbnails import square_around
from mien.reports.time_charts import Span, make_ticks
from mien.reports.video import write_report
from mien.video.face_rows import FaceLocation
from mien.video.timeline import summarize_rows

LABELS = ("neutral", "happiness", "<i>odd</i>")
VOID = {"meta", "img", "br", "path"}


def row(time, label, track=1, scene=1, has_prediction=True):
    shares = {f"s_{name}": (0.8 if name == label else 0.1) if has_prediction else None for name in LABELS}
    return {
        "timestamp_s": time,
        "scene": scene,
        "track_id": track,
        **{"x1": 10.0, "y1": 20.0, "x2": 60.0, "y2": 80.0},
        **{"yaw_deg": 12.0, "pitch_deg": -3.0, "roll_deg": 0.0},
        **{"size_px": 50.0, "sharpness": 0.5, "frontality": 0.9, "visible": 1.0},
        **{"label": label, "confidence": 0.8},
        **shares,
    }


def timeline(*spans, **fields):
    rows = [row(i / 10, label, **fields) for begin, end, label in spans for i in range(begin, end)]
    return summarize_rows(rows, LABELS)


TWO_LABELS = timeline((0, 20, "neutral"), (20, 40, "happiness"))


def frames(times):
    for time in times:
        yield time, np.full((120, 160, 3), 90, np.uint8)


class CheckedPage(HTMLParser):
    """Checks that every element is closed, ids are unique and links have a target."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links = [], [], []
        self.feed(text)
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert set(self.links) <= set(self.ids)

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag in VOID else [tag]
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"].removeprefix("#")] if "href" in attributes else []

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def render(tmp_path, shown, images=frames, title="a video", facts=None, **options):
    path = tmp_path / "report.html"
    write_report(path, shown, title=title, facts=facts or {}, images=images, **options)
    text = path.read_text(encoding="utf-8")
    CheckedPage(text)
    return text


def test_writes_page_without_faces(tmp_path):
    text = render(tmp_path, summarize_rows([], LABELS), facts={"duration": "12 s"})
    assert "No face was found" in text
    assert "<dt>duration</dt><dd>12 s</dd>" in text
    assert "<svg" not in text


def test_page_shows_face_transitions_and_legend(tmp_path):
    text = render(tmp_path, TWO_LABELS)
    assert text.count('class="legend"') == 1
    assert "Face 1" in text
    assert "neutral</span> <b>50%</b>" in text
    assert "Transitions" in text
    assert "perceive in a face, not what the person felt" in text
    assert "responsible-use" in text
    for row_name in ("probability", "label", "yaw", "pitch", "sharpness", "face size"):
        assert f'<span class="name">{row_name}</span>' in text


def test_images_are_small_jpegs_of_requested_times(tmp_path):
    requested = []

    def record(times):
        requested.extend(times)
        return frames(times)

    text = render(tmp_path, TWO_LABELS, record)
    assert requested == sorted(set(requested))
    images = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    sizes = {Image.open(io.BytesIO(base64.b64decode(data))).size for data in images}
    assert sizes == {(88, 88), (144, 144)}


@pytest.mark.parametrize(
    "images",
    [None, lambda times: iter([(time, None) for time in times]), lambda times: iter([])],
    ids=["not recorded", "unreadable", "ends early"],
)
def test_writes_page_without_images(tmp_path, images):
    text = render(tmp_path, TWO_LABELS, images)
    assert "<img" not in text
    assert ("has no images" in text) == (images is None)


def test_rejects_frame_that_is_not_an_image_and_writes_nothing(tmp_path):
    with pytest.raises(InputError, match="uint8"):
        render(tmp_path, TWO_LABELS, lambda times: ((time, np.zeros((8, 8, 3))) for time in times))
    assert list(tmp_path.iterdir()) == []


def test_escapes_text(tmp_path):
    shown = timeline((0, 20, "neutral"), (20, 50, "<i>odd</i>"))
    text = render(tmp_path, shown, title='<b>"title"</b>', facts={"<u>": "a & b"})
    assert "<i>odd" not in text
    assert "&lt;i&gt;odd" in text
    assert "<b>&quot;" not in text
    assert "&lt;u&gt;" in text
    assert "a &amp; b" in text


def test_replaces_invalid_unicode_in_title(tmp_path):
    assert "<h1>a?.mp4</h1>" in render(tmp_path, TWO_LABELS, title="a\udcff.mp4")


def test_content_security_policy_allows_only_own_script(tmp_path):
    text = render(tmp_path, TWO_LABELS)
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert re.findall(r"https?://", text) == []


def test_script_values_are_json(tmp_path):
    text = render(tmp_path, timeline((0, 10, "neutral"), (30, 40, "neutral")))
    match = re.search(r"data-values='([^']*)'", text)
    assert match is not None
    values = json.loads(match[1])
    assert len(values["states"]) == len(values["shares"]) == len(values["yaw"]) == 40
    assert values["shares"][15] == [None] * 3
    assert values["shares"][5] == [80, 10, 10]


def test_face_without_predictions_has_no_probability_chart(tmp_path):
    text = render(tmp_path, timeline((0, 20, None), has_prediction=False))
    assert '<span class="name">probability</span>' not in text
    assert "not classified" in text
    assert "Transitions" not in text


def test_names_face_that_is_always_uncertain(tmp_path):
    assert "mostly not sure" in render(tmp_path, timeline((0, 20, None)))


def test_time_axis_covers_video_longer_than_its_faces(tmp_path):
    text = render(tmp_path, timeline((0, 1, "happiness")), duration_s=7200.0)
    assert ">1:00:00</span>" in text


def test_lists_faces_beyond_the_limit(tmp_path):
    rows = [row(2 * face + i / 10, "neutral", face, face) for face in range(1, 7) for i in range(face)]
    text = render(tmp_path, summarize_rows(rows, LABELS, max_curves=2))
    assert "Showing the 2 faces visible longest, of 6." in text
    assert "4 faces visible for a shorter time" in text


def test_names_scene_when_face_numbers_repeat(tmp_path):
    rows = [row(scene + i / 10, "neutral", 1, scene) for scene in (1, 2) for i in range(5)]
    text = render(tmp_path, summarize_rows(rows, LABELS))
    assert "Face 1, scene 1" in text
    assert "Face 1, scene 2" in text


@pytest.mark.parametrize(
    ("box", "expected"),
    [((0, 0, 10, 10), (0, 0, 16)), ((90, 30, 110, 50), (68, 8, 32)), ((0, 0, 300, 300), (60, 0, 40))],
    ids=["corner", "beyond the border", "larger than the frame"],
)
def test_square_stays_inside_frame(box, expected):
    location = FaceLocation(timestamp_s=0, bbox_xyxy=box)
    assert square_around(location, (40, 100)) == expected


@pytest.mark.parametrize("length", [0.04, 0.5, 3, 12, 61, 600, 3599, 7200, 90_000, 3e6])
def test_ticks_are_few_distinct_and_inside_axis(length):
    ticks = make_ticks(Span(start_s=0, end_s=length), length)
    assert 1 <= len(ticks) <= 9
    assert len({tick.text for tick in ticks}) == len(ticks)
    assert all(-0.01 <= tick.left <= 100.01 for tick in ticks)


def test_page_refers_to_the_clip_and_does_not_embed_it(tmp_path):
    text = render(tmp_path, TWO_LABELS, clip="annotated.mp4")
    assert '<video src="annotated.mp4" controls' in text
    assert "media-src 'self' file:;" in text
    assert "data:video" not in text


def test_page_without_clip_says_so_and_has_no_player(tmp_path):
    text = render(tmp_path, TWO_LABELS)
    assert "<video" not in text
    assert "media-src" not in text
    assert "no annotated copy to play" in text
