"""The video report in Chromium: printed colors, sizes of the page, and the player with its timelines."""

from __future__ import annotations

import numpy as np
import pytest

from mien.reports.movement_charts import AFFECT
from mien.reports.video import write_report
from mien.video.io.writer import VideoWriter
from mien.video.timeline import summarize_rows
from support import reports
from support.browser import find_chromium, launch_chromium
from support.video_rows import LABELS, face_row

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


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """A report of two faces beside a clip of ten seconds."""
    folder = tmp_path_factory.mktemp("viewer")
    writer = VideoWriter(folder / "annotated.mp4", size_hw=(120, 160), audio_from=None)
    for index in range(100):
        writer.add(np.full((120, 160, 3), 40 + index, dtype=np.uint8), index / 10)
    writer.close()
    rows = [
        face_row(time / 10, "happiness", track=track) | {"valence": time / 100, "arousal": 0.5}
        for time in range(100)
        for track in (1, 2)
    ]
    write_report(
        folder / "report.html",
        summarize_rows(rows, LABELS, AFFECT),
        title="clip.mp4",
        facts={},
        images=reports.frames,
        clip="annotated.mp4",
    )
    return folder / "report.html"


@pytest.fixture
def player(browser, viewer):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(viewer.as_uri())
    if not page.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.64001f\"')"):
        pytest.skip("this browser does not play H.264")
    wait_until(page, "clip.readyState >= 1")
    yield page
    page.close()


def wait_until(page, condition):
    """Wait for a condition on the clip; the page's policy forbids Playwright's own waiting, which evaluates text."""
    page.evaluate(
        f"""() => new Promise((resolve, reject) => {{
          const clip = document.querySelector("video");
          const deadline = performance.now() + 20_000;
          const check = () => {{
            if ({condition}) resolve();
            else if (performance.now() > deadline) reject(new Error("not true within 20 s"));
            else setTimeout(check, 20);
          }};
          check();
        }})"""
    )


def now(page):
    return page.evaluate("document.querySelector('video').currentTime")


def click_at(page, lane, share):
    box = lane.bounding_box()
    page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def test_click_on_a_timeline_seeks_and_moves_the_cursor_of_all_timelines(player):
    click_at(player, player.locator(".overview a.row .lane").first, 0.25)
    assert now(player) == pytest.approx(2.5, abs=0.1)
    lefts = player.evaluate("[...document.querySelectorAll('.playhead')].map((head) => parseFloat(head.style.left))")
    assert lefts == pytest.approx([25, 25, 25], abs=1)
    lane = player.locator(".face .tall .lane").first
    lane.scroll_into_view_if_needed()
    click_at(player, lane, 0.75)
    assert now(player) == pytest.approx(7.5, abs=0.1)
    assert player.evaluate("location.hash") == ""


def test_keyboard_moves_the_position_and_plays(player):
    slider = player.get_by_role("slider", name="Position in the video")
    slider.press("End")
    assert now(player) == pytest.approx(10, abs=0.2)
    slider.press("Home")
    for _ in range(3):
        slider.press("ArrowRight")
    assert now(player) == pytest.approx(0.3, abs=0.05)
    assert slider.get_attribute("aria-valuetext") == "0.3 s"
    slider.press(" ")
    wait_until(player, "clip.currentTime > 0.5")
    assert player.evaluate("parseFloat(document.querySelector('.playhead').style.left)") > 3
    slider.press(" ")
    assert player.evaluate("document.querySelector('video').paused")
    player.locator(".face .plot").first.press("End")
    assert now(player) > 9.5


def test_faces_and_classes_are_switched_off_on_screen_and_printed(player):
    player.get_by_role("checkbox", name="Face 2").uncheck()
    assert not player.get_by_role("heading", name="Face 2").is_visible()
    assert player.get_by_role("heading", name="Face 1").is_visible()
    button = player.get_by_role("button", name="happiness")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert style(player, ".overview .states .c1", "visibility") == "hidden"
    assert style(player, ".areas .c1", "fill") == style(player, "body", "backgroundColor")
    player.emulate_media(media="print")
    assert player.get_by_role("heading", name="Face 2").is_visible()
    assert style(player, ".overview .states .c1", "visibility") == "visible"
    assert style(player, ".clip", "display") == "none"
    player.emulate_media(media="screen")
    button.click()
    assert style(player, ".overview .states .c1", "visibility") == "visible"


def test_player_stays_in_view_while_it_is_used_and_can_be_closed(player):
    click_at(player, player.locator(".overview a.row .lane").first, 0.5)
    player.get_by_role("heading", name="Face 2").scroll_into_view_if_needed()
    player.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    player.wait_for_selector(".clip.mini")
    player.get_by_role("button", name="Close the small player").click()
    assert player.locator(".clip.mini").count() == 0


def test_missing_clip_is_reported_in_one_line(browser, viewer, tmp_path):
    (tmp_path / "report.html").write_bytes(viewer.read_bytes())
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector(".clip.missing", state="attached")
    assert "annotated.mp4 is not in the folder" in page.inner_text(".clip figcaption")
    assert not page.locator("video").is_visible()
    assert page.get_by_role("slider").count() == 0
    page.locator(".overview a.row .lane").first.click()
    assert page.evaluate("location.hash") == "#face-1-1"
    assert errors == []


def test_report_is_complete_without_a_script(browser, viewer):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(viewer.as_uri())
    assert page.get_by_role("heading", name="Face 2").is_visible()
    assert page.locator(".legend").inner_text().split() == [*LABELS, "not", "sure"]
    assert page.get_by_role("checkbox").count() == 0
    context.close()


def test_dot_in_the_plane_of_valence_and_arousal_follows_the_clip(player):
    click_at(player, player.locator(".overview a.row .lane").first, 0.75)
    dot = player.locator(".moment").first
    assert dot.is_visible()
    plane, box = player.locator(".plane").first.bounding_box(), dot.bounding_box()
    assert (box["x"] + box["width"] / 2 - plane["x"]) / plane["width"] == pytest.approx(0.875, abs=0.02)
    assert (box["y"] + box["height"] / 2 - plane["y"]) / plane["height"] == pytest.approx(0.25, abs=0.02)
