"""The page of an analyzed video: no faces first, then what it shows, what it escapes, and what it never loads."""

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
from mien.reports import time_axis
from mien.reports.thumbnails import square_around
from mien.reports.time_axis import Span
from mien.reports.video import write_report
from mien.video.timeline import summarize_rows
from mien.video.transitions import FaceLocation

LABELS = ("neutral", "happiness", "<i>odd</i>")
VOID = {"meta", "img", "br", "path"}


def row(time, label, track=1, scene=1, read=True):
    shares = {f"s_{name}": (0.8 if name == label else 0.1) if read else None for name in LABELS}
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


def timeline(*stretches, **others):
    stream = [row(i / 10, label, **others) for begin, end, label in stretches for i in range(begin, end)]
    return summarize_rows(stream, LABELS)


TWO = timeline((0, 20, "neutral"), (20, 40, "happiness"))


def frames(moments):
    for moment in moments:
        yield moment, np.full((120, 160, 3), 90, np.uint8)


class Checked(HTMLParser):
    """Whether every element is closed, and every id used once."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links = [], [], []
        self.feed(text)
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert set(self.links) <= set(self.ids)

    def handle_starttag(self, tag, attrs):
        self.open += [] if tag in VOID else [tag]
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named["href"].removeprefix("#")] if "href" in named else []

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(tmp_path, shown, images=frames, title="a video", facts=None, **others):
    path = tmp_path / "report.html"
    write_report(path, shown, title=title, facts=facts or {}, images=images, **others)
    text = path.read_text(encoding="utf-8")
    Checked(text)
    return text


def test_no_faces_still_give_a_page(tmp_path):
    text = written(tmp_path, summarize_rows([], LABELS), facts={"duration": "12 s"})
    assert "No face was found" in text
    assert "<dt>duration</dt><dd>12 s</dd>" in text
    assert "<svg" not in text


def test_a_page_shows_the_face_its_changes_and_the_colors(tmp_path):
    text = written(tmp_path, TWO)
    assert text.count('class="legend"') == 1
    assert "Face 1" in text
    assert "neutral</span> <b>50 %</b>" in text
    assert "Moments of change" in text
    assert "perceive in a face, not what the person felt" in text
    assert "responsible-use" in text
    for row_name in ("probability", "label", "yaw", "pitch", "sharpness", "face size"):
        assert f'<span class="name">{row_name}</span>' in text


def test_images_are_small_jpegs_of_the_asked_moments(tmp_path):
    asked = []

    def recorded(moments):
        asked.extend(moments)
        return frames(moments)

    text = written(tmp_path, TWO, recorded)
    assert asked == sorted(set(asked))
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    sizes = {Image.open(io.BytesIO(base64.b64decode(data))).size for data in found}
    assert sizes == {(88, 88), (144, 144)}


@pytest.mark.parametrize(
    "images",
    [None, lambda moments: iter([(moment, None) for moment in moments]), lambda moments: iter([])],
    ids=["not kept", "cannot be had", "ends early"],
)
def test_without_images_the_page_stands(tmp_path, images):
    text = written(tmp_path, TWO, images)
    assert "<img" not in text
    assert ("has no images" in text) == (images is None)


def test_a_frame_that_is_no_image_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match="uint8"):
        written(tmp_path, TWO, lambda moments: ((m, np.zeros((8, 8, 3))) for m in moments))
    assert list(tmp_path.iterdir()) == []


def test_texts_are_escaped(tmp_path):
    shown = timeline((0, 20, "neutral"), (20, 50, "<i>odd</i>"))
    text = written(tmp_path, shown, title='<b>"title"</b>', facts={"<u>": "a & b"})
    assert "<i>odd" not in text
    assert "&lt;i&gt;odd" in text
    assert "<b>&quot;" not in text
    assert "&lt;u&gt;" in text
    assert "a &amp; b" in text


def test_nothing_is_loaded_and_no_other_script_runs(tmp_path):
    text = written(tmp_path, TWO)
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert re.findall(r"https?://", text) == []


def test_the_values_for_the_script_are_json(tmp_path):
    text = written(tmp_path, timeline((0, 10, "neutral"), (30, 40, "neutral")))
    found = re.search(r"data-values='([^']*)'", text)
    assert found is not None
    values = json.loads(found[1])
    assert len(values["states"]) == len(values["shares"]) == len(values["yaw"]) == 40
    assert values["shares"][15] == [None] * 3
    assert values["shares"][5] == [80, 10, 10]


def test_a_face_that_was_never_read_has_no_probabilities(tmp_path):
    text = written(tmp_path, timeline((0, 20, None), read=False))
    assert '<span class="name">probability</span>' not in text
    assert "not read" in text
    assert "Moments of change" not in text


def test_a_face_that_was_never_sure_says_so(tmp_path):
    assert "mostly not sure" in written(tmp_path, timeline((0, 20, None)))


def test_one_frame_and_a_longer_video(tmp_path):
    text = written(tmp_path, timeline((0, 1, "happiness")), duration_s=7200.0)
    assert ">1:00:00</span>" in text


def test_faces_seen_shortly_are_listed(tmp_path):
    stream = [row(2 * face + i / 10, "neutral", face, face) for face in range(1, 7) for i in range(face)]
    text = written(tmp_path, summarize_rows(stream, LABELS, max_curves=2))
    assert "The 2 faces seen longest, of 6." in text
    assert "4 faces that were seen shorter" in text


def test_numbers_that_begin_anew_in_every_scene_are_told_apart(tmp_path):
    stream = [row(scene + i / 10, "neutral", 1, scene) for scene in (1, 2) for i in range(5)]
    text = written(tmp_path, summarize_rows(stream, LABELS))
    assert "Face 1, scene 1" in text
    assert "Face 1, scene 2" in text


@pytest.mark.parametrize(
    ("box", "expected"),
    [((0, 0, 10, 10), (0, 0, 16)), ((90, 30, 110, 50), (68, 8, 32)), ((0, 0, 300, 300), (60, 0, 40))],
    ids=["corner", "beyond the border", "larger than the frame"],
)
def test_squares_stay_in_the_frame(box, expected):
    location = FaceLocation(timestamp_s=0, bbox_xyxy=box)
    assert square_around(location, (40, 100)) == expected


@pytest.mark.parametrize("length", [0.04, 0.5, 3, 12, 61, 600, 3599, 7200, 90_000, 3e6])
def test_ticks_are_few_distinct_and_within(length):
    ticks = time_axis.time_ticks(Span(start_s=0, end_s=length), length)
    assert 1 <= len(ticks) <= 9
    assert len({text for _, text in ticks}) == len(ticks)
    assert all(-0.01 <= place <= 100.01 for place, _ in ticks)
