"""The page in a browser against `mien serve`: what it says is what mien says, and it keeps its promises."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import Analyzer
from mien.theme import CLASS_COLORS
from support.browser import FLAGS, ROOT, find_chromium, why_not
from support.images import EXAMPLES

if missing := why_not():
    pytest.skip(missing, allow_module_level=True)
pytest.importorskip("uvicorn", reason="the server needs the extra `serve`")

from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.page_watch import DESK, PATIENCE_MS, Watched, choose, opened, serving, shares, start_camera

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
IMAGE = EXAMPLES / "biden.jpg"
MODES = ("device", "server")
PHONE = (360, 740)
TOKEN = "a-token-for-the-tests-alone"

WATCH_CAMERA = """() => {
  window.cameras = [];
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => {
    window.cameras.push(null);
    const stream = await open(wish);
    window.cameras[window.cameras.length - 1] = stream;
    return stream;
  };
}"""
HOLD_CAMERA = """() => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const held = new Promise((resolve) => (window.release = resolve));
  navigator.mediaDevices.getUserMedia = async (wish) => (await held, open(wish));
}"""
REFUSE_CAMERA = """() => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NAME'); };
}"""
PASTE = """([type, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], 'pasted', { type }));
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def still() -> Image.Image:
    """What the camera sees when its subject sits still: 640x480."""
    scene = Image.new("RGB", (640, 480), (178, 170, 160))
    portrait = Image.open(IMAGE)
    portrait.thumbnail((480, 480))
    scene.paste(portrait, (120, 0))
    return scene


@pytest.fixture(scope="module")
def browser(still: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera shows a face that sways a little."""
    film = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    film.write_bytes(b"".join(_swaying(still)))
    camera = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*FLAGS, *camera])
        yield browser
        browser.close()


def _swaying(still: Image.Image) -> Iterator[bytes]:
    for number in range(30):
        shift = round(4 * math.sin(2 * math.pi * number / 30))
        file = io.BytesIO()
        Image.fromarray(np.roll(np.asarray(still), shift, axis=1)).save(file, "JPEG", quality=95)
        yield file.getvalue()


@pytest.fixture
def watched(browser: Browser, address: str) -> Iterator[Watched]:
    """The page on a desk; at its end it must not have complained of anything."""
    with opened(browser, address) as watched:
        yield watched
        assert watched.complaints == []


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


@pytest.mark.parametrize("mode", MODES)
def test_a_image_says_what_predict_says(watched: Watched, mode: str) -> None:
    page = watched.page
    [face] = Analyzer("open").analyze(IMAGE)  # the less sure model: its probabilities are not all 0 or 1
    assert face.expression is not None
    choose(page, mode, "open")
    place = "Images stay on this device" if mode == "device" else "Images are sent to 127.0.0.1"
    expect(page.locator("#place")).to_contain_text(place)
    page.set_input_files("#image-file", IMAGE)
    expect(page.locator("#faces .label")).to_have_text(face.expression.label or "not sure")
    assert page.locator("#faces .share").inner_text() == f"{face.expression.confidence:.0%}"
    wanted = dict(zip(face.expression.labels, face.expression.probabilities.tolist(), strict=True))
    # to the server it travels as PNG, exactly; a browser's own networks round otherwise
    assert shares(page) == pytest.approx(wanted, abs=0.01 if mode == "device" else 0.001)
    expect(page.locator("#faces .traits")).to_contain_text(
        "turned 11° to their left, tilted 11° to their left"
    )
    expect(page.locator("#spoken")).to_contain_text(f"One face found; face 1: {face.expression.label}")
    assert any("/v1/" in url for url in watched.requests) == (mode == "server")


@pytest.mark.parametrize("mode", MODES)
def test_the_camera_says_what_predict_says(page: Page, still: Image.Image, mode: str) -> None:
    [face] = Analyzer().analyze(still)
    assert face.expression is not None
    choose(page, mode, "expression")
    start_camera(page)  # a starved machine may lose the face for a moment and number it anew
    expect(page.locator("#faces .label").first).to_have_text(str(face.expression.label))
    assert shares(page)[str(face.expression.label)] == pytest.approx(face.expression.confidence, abs=0.1)
    expect(page.locator("#faces .timeline canvas").first).to_have_attribute(
        "aria-label", re.compile(r"^Face \d+, share of the last 30 seconds: neutral")
    )
    expect(page.locator("#fact-rate")).to_have_text(re.compile(r"^\d"))


def test_every_face_of_a_group_has_a_panel(page: Page) -> None:
    choose(page, "server", "open")
    page.set_input_files("#image-file", EXAMPLES / "group.jpg")
    expect(page.locator("#faces > li")).to_have_count(len(Analyzer("open").analyze(EXAMPLES / "group.jpg")))
    expect(page.locator("#image")).to_have_attribute("alt", re.compile(r"^group\.jpg: \d+ faces found$"))
    page.locator("#stop").click()
    expect(page.locator("#faces > li")).to_have_count(0)


def test_consent_comes_before_the_camera(page: Page) -> None:
    page.evaluate(WATCH_CAMERA)
    page.locator("#use-camera").click()
    expect(page.locator("#consent")).to_be_visible()
    expect(page.locator("#consent-where")).to_contain_text("stay on this device")
    page.keyboard.press("Escape")
    expect(page.locator("#consent")).to_be_hidden()
    page.locator("#use-camera").click()
    page.locator("#consent-no").click()
    assert page.evaluate("cameras.length") == 0
    expect(page.locator("#use-image")).to_be_enabled()
    start_camera(page)
    expect(page.locator("#stop-text")).to_have_text("Stop the camera")
    assert page.evaluate("cameras.length") == 1


def test_stop_switches_the_camera_off_and_another_place_asks_again(page: Page) -> None:
    page.evaluate(WATCH_CAMERA)
    start_camera(page)
    expect(page.locator("#video")).to_be_visible()
    assert page.evaluate("cameras[0].getTracks()[0].readyState") == "live"
    page.locator("#where input[value=server]").check()
    expect(page.locator("#consent-where")).to_contain_text("are sent to 127.0.0.1")
    assert page.evaluate("cameras[0].getTracks()[0].readyState") == "ended"
    page.locator("#consent-yes").click()
    expect(page.locator("#video")).to_be_visible()
    page.locator("#stop").click()
    assert page.evaluate("cameras.map((stream) => stream.getTracks()[0].readyState)") == ["ended", "ended"]
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_another_place_while_the_camera_opens_asks_again(watched: Watched) -> None:
    page = watched.page
    page.evaluate(WATCH_CAMERA)
    page.evaluate(HOLD_CAMERA)
    start_camera(page)
    page.locator("#where input[value=server]").check()
    expect(page.locator("#consent")).to_be_hidden()
    page.evaluate("release()")
    expect(page.locator("#consent-where")).to_contain_text("are sent to 127.0.0.1")
    expect(page.locator("#consent")).to_be_visible()
    assert page.evaluate("cameras.map((stream) => stream.getTracks()[0].readyState)") == ["ended"]
    page.locator("#consent-no").click()
    expect(page.locator("#empty")).to_be_visible()
    assert not any("/v1/stream" in url for url in watched.requests)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NotAllowedError", "was not allowed"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "is in use"),
    ],
)
def test_a_camera_that_does_not_start_is_told(page: Page, name: str, told: str) -> None:
    page.evaluate(REFUSE_CAMERA.replace("NAME", name))
    start_camera(page)
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.locator("#stop")).to_be_hidden()


def test_files_that_are_no_images_are_told(page: Page) -> None:
    page.evaluate(PASTE, ["text/plain", "bm8gcGljdHVyZQ=="])
    expect(page.get_by_role("alert")).to_contain_text("neither an image nor a video")
    page.evaluate(PASTE, ["image/png", "bm8gcGljdHVyZQ=="])
    expect(page.get_by_role("alert")).to_contain_text("cannot be opened as an image")
    expect(page.locator("#empty")).to_be_visible()


def test_a_video_file_is_read_as_it_plays(page: Page, still: Image.Image, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="making a video needs the extra `video`")
    clip = tmp_path / "clip.webm"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_image(still)))
        container.mux(stream.encode(None))
    choose(page, "server", "open")
    page.set_input_files("#video-file", clip)
    expect(page.locator("#faces h3").first).to_have_text("Face 1")
    expect(page.locator("#stop-text")).to_have_text("Close the video")


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        raise AssertionError(f"the Tab key does not reach #{name}")

    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#place")).to_contain_text("Images are sent to")
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
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_nothing(browser: Browser, address: str, scheme: Any, size: tuple[int, int]) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm --prefix web ci")
    with opened(browser, address, size, color_scheme=scheme) as watched:
        page = watched.page
        page.evaluate(AXE.read_text())
        assert _violations(page) == []
        choose(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.locator("#faces .label")).to_be_visible()
        assert _violations(page) == []
        page.locator("#use-camera").click()
        assert _violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def _violations(page: Page) -> list[Any]:
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def test_a_model_tells_what_it_was_trained_on(page: Page) -> None:
    expect(page.locator("#model-card")).to_contain_text("VGGFace2")
    page.locator("#model").select_option("open")
    expect(page.locator("#model-card h3")).to_have_text("The model “open”")
    expect(page.locator("#model-card")).not_to_contain_text("VGGFace2")


def test_the_servers_usual_model_is_the_pages(browser: Browser) -> None:
    [face] = Analyzer("open").analyze(IMAGE)
    assert face.expression is not None
    with serving("--model", "open") as address, opened(browser, address) as watched:
        page = watched.page
        page.set_input_files("#image-file", IMAGE)
        expect(page.locator("#faces .label")).to_have_text(str(face.expression.label))
        wanted = dict(zip(face.expression.labels, face.expression.probabilities.tolist(), strict=True))
        assert shares(page) == pytest.approx(wanted, abs=0.01)
        with page.expect_response(re.compile(r"/v1/analyze\?model=open$")) as answer:
            page.locator("#where input[value=server]").check()
        assert answer.value.ok
        assert not any("models/expression" in url for url in watched.requests)
        assert watched.complaints == []


def test_a_server_that_wants_a_token_gets_one(browser: Browser) -> None:
    with serving(MIEN_TOKEN=TOKEN) as address, opened(browser, address) as watched:
        page = watched.page
        choose(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.get_by_role("alert")).to_contain_text("wants an access token")
        expect(page.locator("#token")).to_be_focused()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#faces .label")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()
        start_camera(page)
        expect(page.locator("#faces .timeline canvas").first).to_be_visible()


def test_a_server_that_ends_is_waited_for(browser: Browser) -> None:
    with serving() as address, opened(browser, address) as watched:
        page = watched.page
        page.context.set_offline(True)
        choose(page, "server", "open")
        page.set_input_files("#image-file", IMAGE)
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached. Trying again")
        page.context.set_offline(False)
        expect(page.locator("#faces .label")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()


def test_without_a_server_only_this_device_is_offered(browser: Browser, address: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/readyz", lambda route: route.fulfill(status=404))
        page.goto(address)
        expect(page.locator("#server-reason")).to_contain_text("Not offered: no server answers")
        expect(page.locator("#where input[value=server]")).to_be_disabled()
        expect(page.locator("#where input[value=device]")).to_be_checked()


def test_colors_are_those_of_python() -> None:
    source = (ROOT / "web/src/ui/palette.ts").read_text()
    assert dict(re.findall(r"(\w+): '(#[0-9a-f]{6})'", source)) == CLASS_COLORS
