"""The page's microphone in a browser: its own consent, beside the camera, on the device only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import numpy as np
import pytest

from support.browser import missing_requirement

if missing := missing_requirement():
    pytest.skip(missing, allow_module_level=True)
pytest.importorskip("uvicorn", reason="the server needs the extra `serve`")
pytest.importorskip("av", reason="reading audio needs the extra `voice`")

from playwright.sync_api import Browser, Page, Request, expect

from mien.voice.audio import SAMPLE_RATE_HZ, read_audio
from support.page import (
    AXE,
    DESKTOP,
    PHONE,
    PageSession,
    axe_violations,
    camera_scene,
    launch_with_devices,
    open_page,
    run_server,
    select,
    start_camera,
    write_camera,
)
from support.sounds import RECORDINGS, write_audio

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LOADING_MS = 120_000
"""Maximum time to the first result on a busy machine."""
VOICE_MODELS = ("/models/voice.onnx", "/models/voice-activity.onnx")

RECORD_STREAMS = """() => {
  window.streams = { video: [], audio: [] };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await open(constraints);
    for (const track of stream.getTracks()) streams[track.kind].push(track);
    return stream;
  };
}"""
TRACK_STATES = "Object.values(streams).map((tracks) => tracks.map((track) => track.readyState))"
FAIL_MICROPHONE = """(name) => {
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    if (constraints.audio) throw new DOMException('', name);
    return open(constraints);
  };
}"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with run_server() as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Launch a browser with a fake camera that shows a face, and a fake microphone that hears an excited utterance."""
    folder = tmp_path_factory.mktemp("devices")
    pause = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    speech = np.concatenate([pause, read_audio(RECORDINGS / "03a01Wa.flac"), pause])
    sound = write_audio(folder / "speech.wav", speech, rate_hz=48000)
    with launch_with_devices(write_camera(folder / "face.mjpeg", camera_scene()), sound) as browser:
        yield browser


@pytest.fixture
def session(browser: Browser, url: str) -> Iterator[PageSession]:
    """Open the page; on exit, check that there were no console errors or warnings."""
    with open_page(browser, url) as session:
        session.page.evaluate(RECORD_STREAMS)
        yield session
        assert session.problems == []


@pytest.fixture
def page(session: PageSession) -> Page:
    return session.page


def start_microphone(page: Page) -> None:
    """Press Microphone and give consent."""
    page.locator("#use-microphone").click()
    page.locator("#consent-yes").click()


def test_microphone_starts_only_after_its_own_consent(session: PageSession) -> None:
    page = session.page
    page.locator("#use-microphone").click()
    expect(page.locator("#consent-title")).to_have_text("Before the microphone starts")
    expect(page.locator("#consent-mode")).to_contain_text("stays on this device")
    expect(page.locator("#consent li:visible")).to_contain_text(["Words are not recognized", "can be heard"])
    page.keyboard.press("Escape")
    expect(page.locator("#consent")).to_be_hidden()
    expect(page.locator("#use-microphone")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(TRACK_STATES) == [[], []]
    assert not any("/models/voice" in url or "voiceWorker" in url for url in session.requests)
    select(page, "server", "open")
    start_camera(page)
    expect(page.locator("#video")).to_be_visible()
    page.locator("#use-microphone").click()
    expect(page.locator("#consent-title")).to_have_text("Before the microphone starts")
    expect(page.locator("#consent-mode")).to_contain_text("even when images go to the server")
    page.locator("#consent-no").click()
    assert page.evaluate(TRACK_STATES) == [["live"], []]


def test_camera_and_microphone_together_show_their_fusion_and_send_nothing(session: PageSession) -> None:
    page = session.page
    sent: list[Request] = []
    page.context.on("request", lambda request: request.method != "GET" and sent.append(request))
    select(page, "device", "mobile")
    start_camera(page)
    expect(page.locator("#faces .label").first).to_be_visible(timeout=LOADING_MS)
    start_microphone(page)
    expect(page.locator("#use-microphone")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".voice-label")).to_have_text(re.compile(r"^anger, \d+%"), timeout=LOADING_MS)
    expect(page.get_by_role("meter", name="Arousal")).to_have_attribute(
        "aria-valuetext", re.compile(r"^excited, \+0\.[89]|^excited, \+1")
    )
    expect(page.get_by_role("meter", name="Level")).to_have_attribute("aria-valuetext", re.compile(r"^−?\d+ dB$"))
    expect(page.locator(".voice-timeline canvas")).to_have_attribute("aria-label", re.compile(r"\d s excited, \+"))
    expect(page.locator(".voice-classes h3")).to_contain_text("experimental")
    fusion = page.locator(".fusion")
    expect(fusion.locator("dt")).to_have_text(["Face", "Voice", "Together"])
    expect(fusion.locator("dd")).to_have_text([re.compile(r"^neutral \d+%"), re.compile(r"^anger \d+%"), "not sure"])
    expect(fusion).to_contain_text(re.compile(r"Face and voice disagree: conflict (0\.\d\d|1\.00) of 1"))
    assert sent == []
    assert not any("/v1/" in url for url in session.requests)
    paths = [urlsplit(url).path for url in session.requests]
    assert all(paths.count(model) == 1 for model in VOICE_MODELS)

    page.locator("#stop").click()
    assert page.evaluate(TRACK_STATES) == [["ended"], ["live"]]
    expect(page.locator("#voice-status")).to_have_text(re.compile("^(listening|speech)$"))
    expect(fusion).to_be_hidden()
    page.locator("#use-camera").click()
    expect(page.locator("#video")).to_be_visible()
    page.locator("#use-microphone").click()
    expect(page.locator("#voice")).to_be_hidden()
    assert page.evaluate(TRACK_STATES) == [["ended", "live"], ["ended"]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotAllowedError", "Microphone access was not allowed"),
        ("NotFoundError", "No microphone was found"),
        ("NotReadableError", "The microphone is in use"),
    ],
)
def test_microphone_errors_are_reported_and_leave_the_camera_on(page: Page, name: str, message: str) -> None:
    page.evaluate(FAIL_MICROPHONE, name)
    select(page, "server", "open")
    start_camera(page)
    expect(page.locator("#video")).to_be_visible()
    start_microphone(page)
    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page.locator("#voice")).to_be_hidden()
    expect(page.locator("#use-microphone")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(TRACK_STATES) == [["live"], []]


def test_missing_voice_model_is_reported(browser: Browser, url: str) -> None:
    with open_page(browser, url) as session:
        page = session.page
        page.evaluate(RECORD_STREAMS)
        page.context.route("**/models/voice.json", lambda route: route.fulfill(status=404))
        start_microphone(page)
        expect(page.get_by_role("alert")).to_have_text("voice.json could not be loaded: HTTP status 404.")
        expect(page.locator("#voice")).to_be_hidden()
        assert page.evaluate(TRACK_STATES) == [[], ["ended"]]


def test_microphone_is_accessible_by_keyboard_and_screen_reader(page: Page) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm --prefix web ci")
    page.locator("#use-microphone").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#consent-no")).to_be_focused()
    assert axe_violations(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    heard = re.compile("^Voice: excited, .*class anger, experimental")
    expect(page.locator("#announcements")).to_have_text(heard, timeout=LOADING_MS)
    for size in (PHONE, DESKTOP):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert axe_violations(page) == []
    expect(page.locator("#use-microphone")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#voice")).to_be_hidden()
    expect(page.locator("#announcements")).to_have_text("The microphone is off.")
