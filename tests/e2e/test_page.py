"""The page in a browser, served by `mien serve`: results equal to Python, consent, privacy and accessibility."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien import Analyzer
from mien.action_units import ACTION_UNIT_NAMES, ACTION_UNITS
from mien.imaging import read_image
from mien.runtime import ASSETS
from mien.schema import flatten_result, table_columns
from mien.theme import CLASS_COLORS
from support.browser import missing_requirement
from support.images import EXAMPLES
from support.server import ServerProcess
from support.waiting import wait_until

if missing := missing_requirement():
    pytest.skip(missing, allow_module_level=True)
pytest.importorskip("uvicorn", reason="the server needs the extra `serve`")

from playwright.sync_api import Browser, Page, expect

from support.page import (
    AXE,
    DESKTOP,
    PHONE,
    PageSession,
    axe_violations,
    camera_scene,
    launch_with_devices,
    open_page,
    probabilities,
    run_server,
    select,
    start_camera,
    write_camera,
)
from support.page import PORTRAIT as IMAGE

MODES = ("device", "server")
TOKEN = "a-token-for-these-tests-only"

RECORD_CAMERAS = """() => {
  window.cameras = [];
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    window.cameras.push(null);
    const stream = await open(constraints);
    window.cameras[window.cameras.length - 1] = stream;
    return stream;
  };
}"""
DELAY_CAMERA = """() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const released = new Promise((resolve) => (window.release = resolve));
  navigator.mediaDevices.getUserMedia = async (constraints) => (await released, open(constraints));
}"""
FAIL_CAMERA = """() => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NAME'); };
}"""
PASTE = """([type, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0))], 'pasted', { type }));
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
}"""
DROP = """(files) => {
  const data = new DataTransfer();
  for (const [name, type, bytes] of files) {
    data.items.add(new File([Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0))], name, { type }));
  }
  for (const type of ['dragenter', 'dragover', 'drop']) {
    document.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""
RECORD_NOTICES = """() => {
  window.notices = [];
  const notice = document.getElementById('notice');
  new MutationObserver(() => window.notices.push(notice.textContent))
    .observe(notice, { childList: true, characterData: true, subtree: true });
}"""
COUNT_DRAWN = """() => {
  const canvas = document.getElementById('overlay');
  if (!canvas.width || !canvas.height) return 0;
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with run_server() as url:
        yield url


@pytest.fixture(scope="module")
def camera_image() -> Image.Image:
    return camera_scene()


@pytest.fixture(scope="module")
def browser(camera_image: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Launch a browser with a fake camera that shows a slightly moving face."""
    with launch_with_devices(write_camera(tmp_path_factory.mktemp("camera") / "face.mjpeg", camera_image)) as browser:
        yield browser


@pytest.fixture
def session(browser: Browser, url: str) -> Iterator[PageSession]:
    """Open the page at desktop size; on exit, check that there were no console errors or warnings."""
    with open_page(browser, url) as session:
        yield session
        assert session.problems == []


@pytest.fixture
def page(session: PageSession) -> Page:
    return session.page


@pytest.mark.parametrize("mode", MODES)
def test_image_results_match_python(session: PageSession, mode: str) -> None:
    page = session.page
    # Probabilities of this model are not all close to 0 or 1.
    [face] = Analyzer("open", precision="float32" if mode == "device" else "auto").analyze(IMAGE)
    assert face.expression is not None
    select(page, mode, "open")
    privacy = "Images stay on this device" if mode == "device" else "Images are sent to 127.0.0.1"
    expect(page.locator("#privacy")).to_contain_text(privacy)
    page.set_input_files("#image-file", IMAGE)
    expect(page.locator("#faces .label")).to_have_text(face.expression.label or "not sure")
    assert page.locator("#faces .confidence").inner_text() == f"{face.expression.confidence:.0%}"
    expected = dict(zip(face.expression.labels, face.expression.probabilities.tolist(), strict=True))
    # The server receives the image losslessly; the browser's runtime rounds differently.
    assert probabilities(page) == pytest.approx(expected, abs=0.01 if mode == "device" else 0.001)
    assert face.head_pose is not None
    angles = re.search(
        r"turned (\d+)° to their left, tilted (\d+)° to their left", page.locator("#faces .attributes").inner_text()
    )
    assert angles is not None
    expected_deg = [face.head_pose.yaw_deg, face.head_pose.roll_deg]
    assert [float(angle) for angle in angles.groups()] == pytest.approx(expected_deg, abs=1)
    expect(page.locator("#announcements")).to_contain_text(f"One face found; face 1: {face.expression.label}")
    runtime = r"^(WebGPU|WebAssembly, \d threads?)$" if mode == "device" else "^server 127"
    expect(page.locator("#runtime")).to_have_text(re.compile(runtime))
    assert any("/v1/" in url for url in session.requests) == (mode == "server")


@pytest.mark.parametrize("mode", MODES)
def test_camera_results_match_python(page: Page, camera_image: Image.Image, mode: str) -> None:
    [face] = Analyzer().analyze(camera_image)
    assert face.expression is not None
    select(page, mode, "expression")
    # On a slow machine the face may be lost for a moment and get a new number.
    start_camera(page)
    expect(page.locator("#faces .label").first).to_have_text(str(face.expression.label))
    assert probabilities(page)[str(face.expression.label)] == pytest.approx(face.expression.confidence, abs=0.1)
    expect(page.locator("#faces .timeline canvas").first).to_have_attribute(
        "aria-label", re.compile(r"^Face \d+, share of the last 30 seconds: neutral")
    )
    expect(page.locator("#rate")).to_have_text(re.compile(r"^\d"))


def download(page: Page, button: str) -> tuple[str, bytes]:
    """Press a download button; return name and content of the file."""
    with page.expect_download() as started:
        page.locator(button).click()
    return started.value.suggested_filename, Path(started.value.path()).read_bytes()


def test_server_shows_action_units_on_request(session: PageSession) -> None:
    page = session.page
    switch = page.get_by_label("Action units")
    expect(switch).to_be_hidden()
    select(page, "server", "open")
    page.set_input_files("#image-file", IMAGE)
    expect(page.locator("#faces .meters .meter").first).to_be_visible()
    expect(page.locator("#faces .movements")).to_be_hidden()
    switch.check()
    expect(page.locator("#faces .movements .meter").first).to_be_visible()
    [face] = Analyzer("open", action_units=True).analyze(IMAGE)
    assert face.action_units is not None
    assert face.expression is not None
    units = {unit.name: face.action_units[unit.name] for unit in ACTION_UNITS}
    strongest = sorted(units, key=lambda name: -units[name])[:3]
    names = page.locator("#faces .movements .name").all_inner_texts()
    assert [name.split()[0] for name in names[:3]] == strongest
    values = page.locator("#faces .movements .value").all_inner_texts()
    assert [float(value) for value in values[:3]] == pytest.approx([units[name] for name in strongest], abs=0.02)
    assert axe_violations(page) == []
    _, data = download(page, "#save-csv")
    header, row = csv.reader(io.StringIO(data.decode(), newline=""))
    assert header == list(table_columns(face.expression.labels, ACTION_UNIT_NAMES))
    assert float(row[header.index("AU12_L")]) == pytest.approx(face.action_units["AU12_L"], abs=0.02)
    switch.uncheck()
    expect(page.locator("#faces .movements")).to_be_hidden()


def test_every_face_of_a_group_has_a_card(page: Page) -> None:
    select(page, "server", "open")
    page.set_input_files("#image-file", EXAMPLES / "group.jpg")
    expect(page.locator("#faces > li")).to_have_count(len(Analyzer("open").analyze(EXAMPLES / "group.jpg")))
    expect(page.locator("#image")).to_have_attribute("alt", re.compile(r"^group\.jpg: \d+ faces found$"))
    page.locator("#stop").click()
    expect(page.locator("#faces > li")).to_have_count(0)


def test_camera_starts_only_after_consent(page: Page) -> None:
    page.evaluate(RECORD_CAMERAS)
    page.locator("#use-camera").click()
    expect(page.locator("#consent")).to_be_visible()
    expect(page.locator("#consent-mode")).to_contain_text("stay on this device")
    page.keyboard.press("Escape")
    expect(page.locator("#consent")).to_be_hidden()
    page.locator("#use-camera").click()
    page.locator("#consent-no").click()
    assert page.evaluate("cameras.length") == 0
    expect(page.locator("#use-image")).to_be_enabled()
    start_camera(page)
    expect(page.locator("#stop-text")).to_have_text("Stop the camera")
    assert page.evaluate("cameras.length") == 1


def test_stop_turns_the_camera_off_and_mode_change_asks_for_consent(page: Page) -> None:
    page.evaluate(RECORD_CAMERAS)
    start_camera(page)
    expect(page.locator("#video")).to_be_visible()
    assert page.evaluate("cameras[0].getTracks()[0].readyState") == "live"
    page.locator("#mode input[value=server]").check()
    expect(page.locator("#consent-mode")).to_contain_text("are sent to 127.0.0.1")
    assert page.evaluate("cameras[0].getTracks()[0].readyState") == "ended"
    page.locator("#consent-yes").click()
    expect(page.locator("#video")).to_be_visible()
    # Chromium warns of a connection that is closed before it is established.
    expect(page.locator("#faces .label").first).to_be_visible()
    page.locator("#stop").click()
    assert page.evaluate("cameras.map((stream) => stream.getTracks()[0].readyState)") == ["ended", "ended"]
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_mode_change_while_the_camera_opens_asks_for_consent(session: PageSession) -> None:
    page = session.page
    page.evaluate(RECORD_CAMERAS)
    page.evaluate(DELAY_CAMERA)
    start_camera(page)
    page.locator("#mode input[value=server]").check()
    expect(page.locator("#consent")).to_be_hidden()
    page.evaluate("release()")
    expect(page.locator("#consent-mode")).to_contain_text("are sent to 127.0.0.1")
    expect(page.locator("#consent")).to_be_visible()
    assert page.evaluate("cameras.map((stream) => stream.getTracks()[0].readyState)") == ["ended"]
    page.locator("#consent-no").click()
    expect(page.locator("#empty")).to_be_visible()
    assert not any("/v1/stream" in url for url in session.requests)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotAllowedError", "was not allowed"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "is in use"),
    ],
)
def test_camera_errors_are_reported(page: Page, name: str, message: str) -> None:
    page.evaluate(FAIL_CAMERA.replace("NAME", name))
    start_camera(page)
    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page.locator("#stop")).to_be_hidden()


def test_unsupported_files_are_reported(page: Page) -> None:
    page.evaluate(PASTE, ["text/plain", "bm8gcGljdHVyZQ=="])
    expect(page.get_by_role("alert")).to_contain_text("neither an image nor a video")
    page.evaluate(PASTE, ["image/png", "bm8gcGljdHVyZQ=="])
    expect(page.get_by_role("alert")).to_contain_text("cannot be opened as an image")
    expect(page.locator("#empty")).to_be_visible()


def write_webm(path: Path, image: Image.Image, *, frames: int, rate: int) -> Path:
    """Write a video that shows one image."""
    av = pytest.importorskip("av", reason="encoding a video needs the extra `video`")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=rate)
        stream.width, stream.height = image.size
        stream.pix_fmt = "yuv420p"
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))
    return path


def test_video_file_is_analyzed_during_playback(page: Page, camera_image: Image.Image, tmp_path: Path) -> None:
    clip = write_webm(tmp_path / "clip.webm", camera_image, frames=20, rate=10)
    select(page, "server", "open")
    page.set_input_files("#video-file", clip)
    expect(page.locator("#faces h3").first).to_have_text("Face 1")
    expect(page.locator("#stop-text")).to_have_text("Close the video")


def test_results_of_a_large_video_are_in_pixels_of_the_video(
    page: Page, camera_image: Image.Image, tmp_path: Path
) -> None:
    image = camera_image.resize((1920, 1440))
    clip = write_webm(tmp_path / "large.webm", image, frames=5, rate=5)
    select(page, "server", "open")
    page.set_input_files("#video-file", clip)
    expect(page.locator("#faces h3").first).to_have_text("Face 1")
    _, data = download(page, "#save-json")
    [result] = json.loads(data)["results"]
    assert (result["image"], result["width"], result["height"]) == ("large.webm", 1920, 1440)
    [expected] = Analyzer("open").analyze(image)
    # Tracked boxes differ by up to 30 pixels, those in pixels of the reduced frame by 72 or more.
    assert result["faces"][0]["bbox_xyxy"] == pytest.approx(expected.bbox_xyxy.tolist(), abs=50)


def test_a_video_whose_codec_the_browser_lacks_is_reported(page: Page, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="encoding a video needs the extra `video`")
    clip = tmp_path / "old.mp4"
    with av.open(str(clip), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = container.add_stream("libopus", rate=48000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=48000)
        frame.planes[0].update(bytes(2 * 48000))
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame(320, 240, "yuv420p")))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    page.set_input_files("#video-file", clip)
    expect(page.get_by_role("alert")).to_contain_text("old.mp4 cannot be played by this browser")
    expect(page.locator("#empty")).to_be_visible()


def test_all_functions_are_available_by_keyboard(page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        raise AssertionError(f"the Tab key does not reach #{name}")

    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#privacy")).to_contain_text("Images are sent to")
    tab_to("use-camera")
    page.keyboard.press("Enter")
    expect(page.locator("#consent-no")).to_be_focused()
    tab_to("consent-yes")
    page.keyboard.press("Space")
    expect(page.locator("#faces .label").first).to_be_visible()
    page.locator("#use-camera").focus()
    tab_to("stop")
    page.keyboard.press("Enter")
    expect(page.locator("#use-camera")).to_be_focused()
    expect(page.locator("#faces > li")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_reports_no_violations(browser: Browser, url: str, scheme: Any, size: tuple[int, int]) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm --prefix web ci")
    with open_page(browser, url, size, color_scheme=scheme) as session:
        page = session.page
        assert axe_violations(page) == []
        select(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.locator("#faces .label")).to_be_visible()
        assert axe_violations(page) == []
        page.locator("#use-camera").click()
        assert axe_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fields_have_a_visible_border(browser: Browser, url: str, scheme: Any) -> None:
    with open_page(browser, url, color_scheme=scheme) as session:
        page = session.page
        page.evaluate("document.getElementById('token-form').hidden = false")
        for field in ("#token", "#model"):
            colors = page.locator(field).evaluate(
                "(field) => [getComputedStyle(field).borderTopColor, getComputedStyle(document.body).backgroundColor]"
            )
            # WCAG 1.4.11
            assert _contrast(*colors) >= 3, (field, colors)


def _contrast(*colors: str) -> float:
    """Return the contrast ratio of two CSS colors `rgb(r, g, b)`, 1..21, as WCAG defines it."""
    lights = []
    for color in colors:
        channels = [int(number) / 255 for number in re.findall(r"\d+", color)[:3]]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        lights.append(sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))
    dark, light = sorted(lights)
    return (light + 0.05) / (dark + 0.05)


def test_states_are_visible_with_forced_colors(browser: Browser, url: str) -> None:
    with open_page(browser, url, forced_colors="active") as session:
        page = session.page
        background = "(item) => getComputedStyle(item).backgroundColor"
        selected = page.locator("#mode :checked + span").evaluate(background)
        assert selected != page.locator("body").evaluate(background)
        swatches = page.locator("#legend .swatch")
        expect(swatches).to_have_count(len(CLASS_COLORS))
        assert len({swatch.evaluate(background) for swatch in swatches.all()}) == len(CLASS_COLORS)


def test_model_menu_is_filled_after_a_failure(browser: Browser, url: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/models/index.json", lambda route: route.abort())
        page.goto(url)
        expect(page.get_by_role("alert")).to_contain_text(
            "index.json could not be loaded: the server cannot be reached"
        )
        page.unroute("**/models/index.json")
        page.set_input_files("#image-file", IMAGE)
        expect(page.locator("#faces .label")).to_be_visible()
        expect(page.locator("#model option")).not_to_have_count(0)
        expect(page.locator("#model-card")).to_contain_text("VGGFace2")


def test_model_card_lists_training_data(page: Page) -> None:
    expect(page.locator("#model-card")).to_contain_text("VGGFace2")
    page.locator("#model").select_option("open")
    expect(page.locator("#model-card h3")).to_have_text("The model “open”")
    expect(page.locator("#model-card")).not_to_contain_text("VGGFace2")


def test_default_model_of_the_server_is_preselected(browser: Browser) -> None:
    [face] = Analyzer("open").analyze(IMAGE)
    assert face.expression is not None
    with run_server("--model", "open") as url, open_page(browser, url) as session:
        page = session.page
        page.set_input_files("#image-file", IMAGE)
        expect(page.locator("#faces .label")).to_have_text(str(face.expression.label))
        expected = dict(zip(face.expression.labels, face.expression.probabilities.tolist(), strict=True))
        assert probabilities(page) == pytest.approx(expected, abs=0.01)
        with page.expect_response(re.compile(r"/v1/analyze\?model=open$")) as answer:
            page.locator("#mode input[value=server]").check()
            page.locator("#consent-yes").click()
        assert answer.value.ok
        assert not any("models/expression" in url for url in session.requests)
        assert session.problems == []


def test_access_token_is_requested_and_sent(browser: Browser) -> None:
    with run_server(MIEN_TOKEN=TOKEN) as url, open_page(browser, url) as session:
        page = session.page
        select(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.get_by_role("alert")).to_contain_text("requires an access token")
        expect(page.locator("#token")).to_be_focused()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#faces .label")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
        start_camera(page)
        expect(page.locator("#faces .timeline canvas").first).to_be_visible()


def test_wrong_token_has_its_own_message(browser: Browser) -> None:
    with run_server(MIEN_TOKEN=TOKEN) as url, open_page(browser, url) as session:
        page = session.page
        select(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.get_by_role("alert")).to_contain_text("requires an access token")
        expect(page.locator("#token")).to_have_attribute("aria-invalid", "false")
        page.keyboard.type(f"{TOKEN}x")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("did not accept this token")
        expect(page.locator("#token")).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#token")).to_be_focused()


def test_faces_disappear_from_the_camera_when_the_server_ends(browser: Browser, tmp_path: Path) -> None:
    with ServerProcess(None, log=tmp_path / "log") as server, open_page(browser, server.url) as session:
        page = session.page
        page.evaluate(RECORD_NOTICES)
        select(page, "server", "open")
        start_camera(page)
        expect(page.locator("#faces .label").first).to_be_visible()
        wait_until(lambda: page.evaluate(COUNT_DRAWN) > 0)
        server.stop()
        expect(page.locator("#faces > li")).to_have_count(0)
        assert page.evaluate(COUNT_DRAWN) == 0
        expect(page.locator("#faces-hint")).to_have_text("The analysis is interrupted.")
        expect(page.get_by_role("alert")).to_contain_text("Trying again")
        notices = page.evaluate("notices")
        assert any("The server was stopped." in notice for notice in notices), notices
        expect(page.locator("#downloads")).to_be_hidden()
        expect(page.locator("#video")).to_be_visible()


def test_faces_disappear_from_the_camera_when_the_server_hangs(browser: Browser, tmp_path: Path) -> None:
    with ServerProcess(None, log=tmp_path / "log") as server, open_page(browser, server.url) as session:
        page = session.page
        select(page, "server", "open")
        start_camera(page)
        expect(page.locator("#faces .label").first).to_be_visible()
        server.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: page.evaluate(COUNT_DRAWN) == 0)
        finally:
            server.process.send_signal(signal.SIGCONT)


def test_open_image_is_sent_to_the_server_only_with_consent(session: PageSession) -> None:
    page = session.page
    select(page, "device", "open")
    page.set_input_files("#image-file", IMAGE)
    expect(page.locator("#faces .label")).to_be_visible()
    page.locator("#mode input[value=server]").check()
    expect(page.locator("#consent-mode")).to_contain_text("biden.jpg will be sent to 127.0.0.1")
    page.keyboard.press("Escape")
    expect(page.locator("#mode input[value=device]")).to_be_checked()
    expect(page.locator("#privacy")).to_contain_text("Images stay on this device")
    expect(page.locator("#faces .label")).to_be_visible()
    assert not any("/v1/analyze" in url for url in session.requests)
    page.locator("#mode input[value=server]").check()
    page.locator("#consent-yes").click()
    expect(page.locator("#runtime")).to_contain_text("server 127.0.0.1")
    expect(page.locator("#privacy")).to_contain_text("Images are sent to")
    expect(page.locator("#faces .label")).to_be_visible()
    assert any("/v1/analyze" in url for url in session.requests)


def test_several_images_are_analyzed_and_stepped_through(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    select(page, "server", "open")
    page.set_input_files("#image-file", [IMAGE, EXAMPLES / "group.jpg", broken, EXAMPLES / "obama.jpg"])
    statuses = page.locator("#gallery-list .status")
    expect(statuses).to_have_text(["one face", "11 faces", "failed", "one face"])
    expect(page.locator("#gallery-position")).to_have_text("Image 1 of 4")
    expect(page.locator("#gallery-previous")).to_have_attribute("aria-disabled", "true")
    page.locator("#gallery-next").click()
    expect(page.locator("#faces > li")).to_have_count(11)
    expect(page.locator("#image")).to_have_attribute("alt", "group.jpg: 11 faces found")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("alert")).to_contain_text("broken.jpg cannot be opened as an image")
    expect(page.locator("#faces > li")).to_have_count(0)
    page.locator("#gallery-list button").last.click()
    expect(page.locator("#gallery-list button").last).to_have_attribute("aria-current", "true")
    expect(page.locator("#gallery-next")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#faces > li")).to_have_count(1)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.locator("#stop").click()
    expect(page.locator("#gallery")).to_be_hidden()
    expect(page.locator("#empty")).to_be_visible()


def test_several_files_can_be_dropped_and_pasted(page: Page) -> None:
    select(page, "server", "open")
    image = base64.b64encode(IMAGE.read_bytes()).decode()
    page.evaluate(
        DROP, [["one.jpg", "image/jpeg", image], ["notes.txt", "text/plain", ""], ["ü.jpg", "image/jpeg", image]]
    )
    expect(page.locator("#gallery-list .name")).to_have_text(["one.jpg", "ü.jpg"])
    expect(page.get_by_role("alert")).to_contain_text("notes.txt is neither an image nor a video")
    expect(page.locator("#gallery-list .status")).to_have_text(["one face"] * 2)
    page.evaluate(PASTE, ["image/jpeg", image])
    expect(page.locator("#gallery")).to_be_hidden()
    expect(page.locator("#image")).to_have_attribute("alt", "pasted: one face found")


def test_results_are_downloaded_as_json_csv_and_annotated_image(page: Page) -> None:
    images = [IMAGE, EXAMPLES / "group.jpg"]
    select(page, "server", "open")
    expect(page.locator("#downloads")).to_be_hidden()
    page.set_input_files("#image-file", images)
    expect(page.locator("#gallery-list .status")).to_have_text(["one face", "11 faces"])
    analyzer = Analyzer("open")
    records = [replace(analyzer.analyze(image), source=image.name).to_record() for image in images]
    name, data = download(page, "#save-json")
    assert (name, json.loads(data)["model"]) == ("mien.json", "open")
    # the server classifies the faces of several images in one batch, which changes the last digits
    for result, record in zip(json.loads(data)["results"], records, strict=True):
        assert result["image"] == record.image
        assert [face["bbox_xyxy"] for face in result["faces"]] == [face.bbox_xyxy for face in record.faces]
    name, data = download(page, "#save-csv")
    assert name == "mien.csv"
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
    expected = [row for record in records for row in flatten_result(record)]
    assert header == list(table_columns(analyzer.manifest.labels))
    for row, cells in zip(rows, expected, strict=True):
        for column, text in zip(header, row, strict=True):
            cell = cells.get(column)
            is_number = isinstance(cell, float)
            assert (
                float(text) == pytest.approx(cell, abs=2e-3) if is_number else text == str("" if cell is None else cell)
            )
    name, data = download(page, "#save-image")
    annotated, original = read_image(data), read_image(IMAGE)
    assert (name, annotated.shape) == ("biden-mien.png", original.shape)
    assert 0 < (annotated != original).mean() < 0.5
    assert (annotated == _class_rgb("neutral")).all(axis=2).any()


def _class_rgb(label: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(CLASS_COLORS[label].lstrip("#")))


def test_model_menu_states_accuracy_size_training_data_and_license(page: Page) -> None:
    page.locator("#model").select_option("open")
    expect(page.locator("#model option:checked")).to_have_text(re.compile(r"^open: \d\d\.\d% accuracy$"))
    summary = page.locator("#model-summary")
    size = f"{(ASSETS / 'open.onnx').stat().st_size / 1e6:.1f} MB"
    for text in ("% correct on", size, "trained on FER+", "license: MIT"):
        expect(summary).to_contain_text(text, ignore_case=True)
    expect(page.locator("#model")).to_have_attribute("aria-describedby", "model-summary")


def test_requests_are_retried_while_the_server_is_unreachable(browser: Browser) -> None:
    with run_server() as url, open_page(browser, url) as session:
        page = session.page
        page.context.set_offline(True)
        select(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached. Trying again")
        page.context.set_offline(False)
        expect(page.locator("#faces .label")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()


def test_server_mode_is_disabled_without_a_server(browser: Browser, url: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/readyz", lambda route: route.fulfill(status=404))
        page.goto(url)
        expect(page.locator("#server-reason")).to_contain_text("Not available: no server responds")
        expect(page.locator("#mode input[value=server]")).to_be_disabled()
        expect(page.locator("#mode input[value=device]")).to_be_checked()


def test_class_colors_match_python(page: Page) -> None:
    swatches = page.locator("#legend li").evaluate_all(
        "items => items.map((item) => [item.innerText, item.firstChild.style.getPropertyValue('--class-color')])"
    )
    assert dict(swatches) == CLASS_COLORS
