"""Browser sessions of the page, served by `mien serve` in another process."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.browser import FLAGS, ROOT, find_chromium
from support.images import EXAMPLES
from support.server import ServerProcess

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
PORTRAIT = EXAMPLES / "biden.jpg"
DESKTOP = (1280, 800)
PHONE = (360, 740)
TIMEOUT_MS = 30_000


@dataclass
class PageSession:
    """A page with its requests, and its console warnings and errors."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.problems.append(message.text)
        )


@contextmanager
def run_server(*options: str, **environment: str) -> Iterator[str]:
    """Run `mien serve` on a free port; yield its URL."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with ServerProcess(None, *options, log=log, environment=environment) as server:
            yield server.url


@contextmanager
def open_page(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, **options: Any) -> Iterator[PageSession]:
    """Open the page; on exit, check that it sent no requests to other hosts and set no cookies."""
    viewport = {"width": size[0], "height": size[1]}
    with browser.new_context(viewport=viewport, reduced_motion="reduce", **options) as context:
        session = PageSession(context.new_page())
        session.page.goto(url)
        expect(session.page.locator("#model option")).not_to_have_count(0)
        expect(session.page.locator("#server-reason")).to_be_hidden()
        yield session
        foreign = [
            request
            for request in session.requests
            if not request.startswith(("blob:", "data:")) and urlsplit(request).netloc != urlsplit(url).netloc
        ]
        assert foreign == []
        assert context.cookies() == []


@contextmanager
def launch_with_devices(video: Path, sound: Path | None = None) -> Iterator[Browser]:
    """Launch a browser with a fake camera that repeats an MJPEG file, and a fake microphone that repeats a WAV file.

    It grants access to both without a question; the page's own questions remain.
    """
    devices = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
        *([f"--use-file-for-fake-audio-capture={sound}"] if sound else []),
    ]
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*FLAGS, *devices])
        yield browser
        browser.close()


def camera_scene() -> Image.Image:
    """Return a camera frame of 640x480 pixels with one face."""
    scene = Image.new("RGB", (640, 480), (178, 170, 160))
    portrait = Image.open(PORTRAIT)
    portrait.thumbnail((480, 480))
    scene.paste(portrait, (120, 0))
    return scene


def write_camera(path: Path, scene: Image.Image) -> Path:
    """Write 30 frames as MJPEG in which the scene moves left and right by 4 pixels."""
    with path.open("wb") as file:
        for number in range(30):
            shift = round(4 * math.sin(2 * math.pi * number / 30))
            buffer = io.BytesIO()
            Image.fromarray(np.roll(np.asarray(scene), shift, axis=1)).save(buffer, "JPEG", quality=95)
            file.write(buffer.getvalue())
    return path


def axe_violations(page: Page) -> list[Any]:
    """Return the accessibility rules that the page breaks, with the elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    violations = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in violations]


def select(page: Page, mode: str, model: str) -> None:
    """Select the mode, `device` or `server`, and the model."""
    page.locator(f"#mode input[value={mode}]").check()
    page.locator("#model").select_option(model)


def start_camera(page: Page) -> None:
    """Press Camera and give consent."""
    page.locator("#use-camera").click()
    page.locator("#consent-yes").click()


def probabilities(page: Page) -> dict[str, float]:
    """Return the probabilities of the first face from its accessible meters, 0..1."""
    meters = page.locator("#faces > li").first.get_by_role("meter").all()
    return {
        str(meter.get_attribute("aria-label")): float(str(meter.get_attribute("aria-valuenow"))) / 100
        for meter in meters
    }
