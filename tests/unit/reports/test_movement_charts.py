"""Action units, blinks, valence and arousal in the video report."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from mien.action_units import ACTION_UNIT_NAMES
from mien.reports.movement_charts import AFFECT, MAX_UNITS, affect_plane, report_columns, strongest_units
from mien.reports.time_charts import Span, level_chart
from mien.reports.video import write_report
from mien.video.table import EYE_CLOSURE
from mien.video.timeline import summarize_rows
from support import reports
from support.video_rows import LABELS, face_row

SPAN = Span(start_s=0.0, end_s=10.0)


def rows(**columns):
    """Return 100 rows in 10 seconds; a column is a value, or a function of the time."""
    made = []
    for index in range(100):
        time_s = index / 10
        values = {name: value(time_s) if callable(value) else value for name, value in columns.items()}
        made.append(face_row(time_s, "happiness") | values)
    return made


def timeline(**columns):
    return summarize_rows(rows(**columns), LABELS, report_columns(ACTION_UNIT_NAMES))


def curve(**columns):
    return timeline(**columns).tracks[0].curve


def page(tmp_path, shown, **options):
    path = tmp_path / "report.html"
    write_report(path, shown, title="clip", facts={}, images=reports.frames, **options)
    return path.read_text(encoding="utf-8")


def test_columns_are_those_of_both_sides_together():
    assert report_columns(()) == AFFECT
    columns = report_columns(ACTION_UNIT_NAMES)
    assert {"AU12", EYE_CLOSURE} < {*columns}
    assert not [name for name in columns if name.endswith(("_L", "_R"))]


def test_strongest_units_are_those_with_the_highest_peaks_by_number():
    shown = curve(AU01=0.9, AU12=lambda time_s: float(time_s > 9), AU25=0.3, AU04=0.1)
    assert [unit.name for unit in strongest_units(shown)] == ["AU01", "AU12", "AU25"]
    many = curve(**dict.fromkeys(("AU01", "AU02", "AU04", "AU05", "AU07", "AU10", "AU12"), 0.5), AU26=0.8)
    assert len(strongest_units(many)) == MAX_UNITS
    assert "AU26" in [unit.name for unit in strongest_units(many)]


def test_no_units_without_action_units():
    assert strongest_units(curve()) == []
    assert strongest_units(summarize_rows(rows(AU12=1.0), LABELS).tracks[0].curve) == []


def test_level_chart_has_the_height_of_the_values():
    shown = curve(AU12=lambda time_s: 0.25 if time_s < 5 else None)
    (path,) = [data for _, data in level_chart(shown.columns["AU12"], shown, SPAN).paths]
    assert path.startswith("M0 100V75")
    assert re.findall(r"[Vl][\d ]+", path) == ["V75", "V100"]


def test_plane_has_positive_valence_right_and_high_arousal_up():
    plane = affect_plane(curve(valence=0.5, arousal=-0.25), SPAN, 10, is_trained=False)
    assert plane.pieces[0] == (0, "M50 25L50 25L50 25L50 25L50 25L50 25")
    assert plane.means == ("+0.50", "−0.25")
    assert (plane.start, plane.end) == ("0.0 s", "10.0 s")


def test_path_is_colored_by_time_and_continuous():
    plane = affect_plane(curve(valence=lambda time_s: time_s / 10, arousal=0.0), SPAN, 10, is_trained=False)
    shares = [share for share, _ in plane.pieces]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 95)
    points = [path.removeprefix("M").split("L") for _, path in plane.pieces]
    assert all(before[-1] == after[0] for before, after in pairwise(points))


def test_path_has_a_gap_where_the_face_has_no_values():
    plane = affect_plane(
        curve(valence=lambda time_s: None if 4 < time_s < 6 else time_s / 10, arousal=0.0), SPAN, 10, is_trained=False
    )
    drawn = [int(x) for _, path in plane.pieces for x in re.findall(r"(-?\d+) 0", path)]
    assert not [x for x in drawn if 42 < x < 58]
    assert (min(drawn), max(drawn)) == (0, 99)


def test_no_plane_without_values():
    assert affect_plane(curve(), SPAN, 10, is_trained=False) is None
    assert affect_plane(summarize_rows(rows(), LABELS).tracks[0].curve, SPAN, 10, is_trained=True) is None


@pytest.mark.parametrize(
    ("is_trained", "source"), [(False, "derived from the probabilities"), (True, "predicted by the model")]
)
def test_page_says_how_valence_and_arousal_came_about(tmp_path, is_trained, source):
    text = page(tmp_path, timeline(valence=0.5, arousal=0.1), has_trained_affect=is_trained)
    assert f"+0.50 and +0.10 on average; {source}." in text


def test_page_lists_units_and_rate_of_blinks(tmp_path):
    times = [index / 25 for index in range(250)]
    blinking = [
        face_row(time_s, "happiness") | {"AU12": 0.8, EYE_CLOSURE: 0.9 if time_s % 2 < 0.15 and time_s > 1 else 0.1}
        for time_s in times
    ]
    text = page(tmp_path, summarize_rows(blinking, LABELS, report_columns(ACTION_UNIT_NAMES)))
    assert "AU12 lip corner puller, 24.1 blinks per minute. Action units, from 0 to 1, are estimates" in text
    assert '<span class="name">AU12</span>' in text


def test_page_without_action_units_has_no_units(tmp_path):
    text = page(tmp_path, summarize_rows(rows(valence=0.1, arousal=0.1), LABELS, report_columns(())))
    assert "Action units" not in text
    assert 'class="plane"' in text
