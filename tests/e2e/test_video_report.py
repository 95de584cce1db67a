"""The video report in Chromium: printed colors, a table that fits the page, and no page wider than a phone."""

from __future__ import annotations

import pytest

from mien.reports.video import write_report
from mien.video.timeline import summarize_rows
from support import reports
from support.browser import find_chromium, launch_chromium

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("playwright")
    with launch_chromium() as browser:
        yield browser


@pytest.fixture
def path(tmp_path):
    labels = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    rows = [
        {"timestamp_s": index / 10, "scene": 1, "track_id": 1, "x1": 5, "y1": 5, "x2": 40, "y2": 40, "visible": 1.0,
         "label": labels[index // 40], "confidence": 0.9, "yaw_deg": -12.0, "pitch_deg": -1.0, "roll_deg": 3.0,
         "sharpness": 0.5, "frontality": 0.9, "size_px": 35.0} | {f"s_{name}": 0.125 for name in labels}
        for index in range(100)
    ]  # fmt: skip
    timeline = summarize_rows(rows, labels)
    write_report(tmp_path / "report.html", timeline, title="clip.mp4", facts={}, images=reports.frames)
    return tmp_path / "report.html"


def style(page, selector, name, pseudo=None):
    return page.evaluate(
        "([selector, name, pseudo]) => getComputedStyle(document.querySelector(selector), pseudo)[name]",
        [selector, name, pseudo],
    )


def test_plots_and_legend_are_printed_in_the_light_theme(browser, path):
    page = browser.new_page(color_scheme="dark")
    page.goto(path.as_uri())
    assert style(page, "body", "color") != "rgb(0, 0, 0)"
    on_screen = style(page, "h1", "color")
    page.emulate_media(media="print")
    for selector in (".legend i", ".share i"):
        assert style(page, selector, "printColorAdjust") == "exact"
        assert style(page, selector, "backgroundColor") != "rgba(0, 0, 0, 0)"
    red, green, blue = (int(part) for part in style(page, "h1", "color")[4:-1].split(", "))
    assert max(red, green, blue) < 100  # dark ink, on white paper
    assert style(page, "h1", "color") != on_screen
    assert page.evaluate("[...document.images].every((image) => image.loading !== 'lazy')")
    assert len(page.pdf()) > 10_000


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_tables_show_all_columns_on_a_laptop_and_scroll_on_a_phone(browser, path, color_scheme):
    for width in (1280, 400):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=color_scheme)
        page.goto(path.as_uri())
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        sizes = page.evaluate(
            "[...document.querySelectorAll('.face .scroll')].map((box) => [box.scrollWidth, box.clientWidth])"
        )
        assert sizes
        assert width < 1000 or all(scroll <= client for scroll, client in sizes)
        assert page.evaluate("document.documentElement.scrollWidth") == width
