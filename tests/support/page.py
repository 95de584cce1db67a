"""Browser sessions of the page, served by `mien serve` in another process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from support.server import ServerProcess

DESKTOP = (1280, 800)
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
