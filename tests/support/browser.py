"""The browser page as it is built, in a headless Chromium, for tests and benchmarks.

They start the page's own worker and speak with it as `web/src/engine/messages.ts` says: what is measured is what ships.
"""

from __future__ import annotations

import base64
import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src/mien/server/page"
ASSETS = ROOT / "src/mien/assets"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
ASK = """() => {
  const worker = new Worker(ADDRESS, { type: 'module' });
  const waiting = new Map();
  worker.onmessage = ({ data }) => data.type === 'progress' || waiting.get(data.id)(data);
  worker.onerror = (event) => waiting.forEach((settle) => settle({ type: 'error', message: event.message }));
  window.ask = (question, transfer = []) => new Promise((resolve) => {
    const id = waiting.size;
    waiting.set(id, resolve);
    worker.postMessage({ ...question, id }, transfer);
  });
  window.bitmap = async (png) => {
    const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
    return createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  };
}"""


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def why_not() -> str | None:
    """What is missing to drive the page here; None when nothing is."""
    if find_spec("playwright") is None:
        return "Playwright is not installed"
    if find_chromium() is None:
        return "there is no Chromium on this machine"
    if not (PAGE / "index.html").is_file():
        return "the page is not built: npm --prefix web run build"
    return None


class Engine:
    """The page's worker; every call waits for its answer."""

    def __init__(self, page: Any) -> None:
        self._page = page
        [worker] = (PAGE / "assets").glob("worker-*.js")
        page.evaluate(ASK.replace("ADDRESS", f"'assets/{worker.name}'"))

    def open(self, model: str = "expression", folder: str = "models/") -> dict[str, Any]:
        """Load the models; what it answers tells the backend."""
        code = (
            "([model, folder]) => ask({type: 'open', model, models: new URL(folder, document.baseURI).href})"
        )
        return self._page.evaluate(code, [model, folder])

    def image(self, image: np.ndarray) -> dict[str, Any]:
        """An image (H, W, 3) uint8 RGB on its own."""
        code = (
            "async (png) => { const image = await bitmap(png); return ask({type: 'image', image}, [image]); }"
        )
        return self._page.evaluate(code, _png(image))

    def frame(self, image: np.ndarray, timestamp_s: float) -> dict[str, Any]:
        """The next frame of a moving image."""
        code = """async ([png, timestamp_s]) => {
            const image = await bitmap(png);
            return ask({type: 'frame', image, timestamp_s}, [image]);
        }"""
        return self._page.evaluate(code, [_png(image), timestamp_s])

    def reset(self) -> dict[str, Any]:
        """Another source."""
        return self._page.evaluate("() => ask({type: 'reset'})")

    def play(self, image: np.ndarray, seconds: float) -> list[dict[str, Any]]:
        """An image that sways as a head does before a camera of 30 frames a second; late frames are left out.

        Returns:
            Every answer, with `wall_ms`: from making the frame to its answer.
        """
        return self._page.evaluate(PLAY, [_png(image), seconds])


PLAY = """async ([png, seconds]) => {
  const still = await bitmap(png);
  const canvas = new OffscreenCanvas(still.width, still.height);
  const context = canvas.getContext('2d');
  const answers = [];
  const start = performance.now();
  for (let tick = 0; tick < 30 * seconds; tick = Math.ceil((30 * (performance.now() - start)) / 1000)) {
    const timestamp_s = tick / 30;
    const early_ms = start + 1000 * timestamp_s - performance.now();
    if (early_ms > 0) await new Promise((resolve) => setTimeout(resolve, early_ms));
    const now = performance.now();
    context.setTransform(1, 0, 0, 1, 12 * Math.sin(2 * timestamp_s), 6 * Math.sin(3 * timestamp_s));
    context.drawImage(still, 0, 0);
    const image = await createImageBitmap(canvas);
    const answer = await ask({ type: 'frame', image, timestamp_s }, [image]);
    answers.push({ ...answer, wall_ms: performance.now() - now });
  }
  return answers;
}"""


@contextmanager
def driven_chromium() -> Iterator[Any]:
    """A headless Chromium without a GPU."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def driven_engine(browser: Any, *, isolated: bool = True) -> Iterator[Engine]:
    """The engine of the built page, open in a browser; without `isolated` it gets no threads.

    Raises:
        AssertionError: when the page reports an error of its own.
    """
    with _served(isolated) as address:
        page = browser.new_page()
        errors: list[Exception] = []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(f"{address}/")
        yield Engine(page)
        page.close()
        assert not errors, errors


@contextmanager
def _served(isolated: bool) -> Iterator[str]:
    """The page, and the models beside it, at an address on this machine, under the headers that ship."""
    from mien.server.static import HEADERS, THREAD_HEADERS

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            name = path.partition("?")[0].lstrip("/")
            folder, _, rest = name.partition("/")
            return str(ASSETS / rest if folder == "models" else PAGE / name)

        def end_headers(self) -> None:
            for name, value in HEADERS.items():
                if isolated or name not in THREAD_HEADERS:
                    self.send_header(name, value)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode()
