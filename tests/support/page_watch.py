"""The page in a browser, watched, against `mien serve` in another process."""

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

DESK = (1280, 800)
PATIENCE_MS = 30_000


@dataclass
class Watched:
    """A page, and everything that it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: message.type in ("error", "warning") and self.complaints.append(message.text),
        )


@contextmanager
def serving(*options: str, **environment: str) -> Iterator[str]:
    """The address of `mien serve` in a process of its own, on a free port."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with ServerProcess(None, *options, log=log, environment=environment) as served:
            yield served.url


@contextmanager
def opened(browser: Browser, address: str, size: tuple[int, int] = DESK, **context: Any) -> Iterator[Watched]:
    """The page, ready; at its end it must have asked for nothing elsewhere."""
    viewport = {"width": size[0], "height": size[1]}
    with browser.new_context(viewport=viewport, reduced_motion="reduce", **context) as made:
        watched = Watched(made.new_page())
        watched.page.goto(address)
        expect(watched.page.locator("#model option")).not_to_have_count(0)
        expect(watched.page.locator("#server-reason")).to_be_hidden()
        yield watched
        foreign = [
            url
            for url in watched.requests
            if not url.startswith(("blob:", "data:")) and urlsplit(url).netloc != urlsplit(address).netloc
        ]
        assert foreign == []
        assert made.cookies() == []


def choose(page: Page, mode: str, model: str) -> None:
    page.locator(f"#where input[value={mode}]").check()
    page.locator("#model").select_option(model)


def start_camera(page: Page) -> None:
    page.locator("#use-camera").click()
    page.locator("#consent-yes").click()


def shares(page: Page) -> dict[str, float]:
    """The probabilities of the first face as a screen reader is told them, 0..1."""
    meters = page.locator("#faces > li").first.get_by_role("meter").all()
    return {
        str(meter.get_attribute("aria-label")): float(str(meter.get_attribute("aria-valuenow"))) / 100
        for meter in meters
    }
