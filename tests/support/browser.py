"""Headless Chromium and the built page's worker, for tests and benchmarks.

They start the page's own worker and use its protocol, `web/src/engine/messages.ts`, to run the code that ships.
"""

from __future__ import annotations

import base64
import io
import math
import shutil
import threading
import time
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
START_WORKER = """(url) => {
  const worker = new Worker(url, { type: 'module' });
  const pending = new Map();
  worker.onmessage = ({ data }) => data.type === 'progress' || pending.get(data.id)(data);
  worker.onerror = (event) => pending.forEach((resolve) => resolve({ type: 'error', message: event.message }));
  window.request = (body, transfer = []) => new Promise((resolve) => {
    const id = pending.size;
    pending.set(id, resolve);
    worker.postMessage({ ...body, id }, transfer);
  });
  window.decode = async (png) => {
    const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
    return createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  };
}"""
OPEN = """([folder, options]) =>
  request({ type: 'open', models: new URL(folder, document.baseURI).href, ...options })"""
STORED = """async () => {
  const keys = await (await caches.open('mien-files')).keys();
  return keys.map(({ url }) => new URL(url).pathname.split('/').pop()).sort();
}"""
ANALYZE_IMAGE = """async (png) => {
  const image = await decode(png);
  return request({ type: 'image', image }, [image]);
}"""
ANALYZE_FRAME = """async ([png, timestamp_s]) => {
  const image = await decode(png);
  return request({ type: 'frame', tracker: 0, image, timestamp_s }, [image]);
}"""
PLAY = """async ([png, seconds]) => {
  const still = await decode(png);
  const canvas = new OffscreenCanvas(still.width, still.height);
  const context = canvas.getContext('2d');
  const responses = [];
  const start = performance.now();
  const newest = () => Math.floor((30 * (performance.now() - start)) / 1000);
  for (let tick = 0; tick < 30 * seconds; tick = Math.max(tick + 1, newest())) {
    const timestamp_s = tick / 30;
    const early_ms = start + 1000 * timestamp_s - performance.now();
    if (early_ms > 0) await new Promise((resolve) => setTimeout(resolve, early_ms));
    const now = performance.now();
    context.setTransform(1, 0, 0, 1, 12 * Math.sin(2 * timestamp_s), 6 * Math.sin(3 * timestamp_s));
    context.drawImage(still, 0, 0);
    const image = await createImageBitmap(canvas);
    const response = await request({ type: 'frame', tracker: 0, image, timestamp_s }, [image]);
    responses.push({ ...response, wall_ms: performance.now() - now });
  }
  return responses;
}"""


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def missing_requirement() -> str | None:
    """Return what is missing to run the page in a browser; None when nothing is."""
    if find_spec("playwright") is None:
        return "Playwright is not installed"
    if find_chromium() is None:
        return "Chromium is not installed"
    if not (PAGE / "index.html").is_file():
        return "the page is not built: npm --prefix web run build"
    return None


class Engine:
    """Client of the page's worker; every call waits for the response."""

    def __init__(self, page: Any) -> None:
        self._page = page
        [worker] = (PAGE / "assets").glob("worker-*.js")
        page.evaluate(START_WORKER, f"assets/{worker.name}")

    def open(
        self, model: str = "expression", folder: str = "models/", *, max_faces: int | None = None
    ) -> dict[str, Any]:
        """Load the models; the response names the runtime."""
        options = {"model": model} if max_faces is None else {"model": model, "maxFaces": max_faces}
        return self._page.evaluate(OPEN, [folder, options])

    def age_ms(self) -> float:
        """Return the time since the visit started."""
        return self._page.evaluate("() => performance.now()")

    def stored_files(self) -> list[str]:
        """Return the names of the files that the page has stored for the next visit."""
        return self._page.evaluate(STORED)

    def analyze_image(self, image: np.ndarray) -> dict[str, Any]:
        """Analyze a single image (H, W, 3) uint8 RGB."""
        return self._page.evaluate(ANALYZE_IMAGE, _encode_png(image))

    def analyze_frame(self, image: np.ndarray, timestamp_s: float) -> dict[str, Any]:
        """Analyze the next video frame (H, W, 3) uint8 RGB."""
        return self._page.evaluate(ANALYZE_FRAME, [_encode_png(image), timestamp_s])

    def reset(self) -> dict[str, Any]:
        """Forget all tracks."""
        return self._page.evaluate("() => request({ type: 'reset', tracker: 0 })")

    def play(self, image: np.ndarray, seconds: float) -> list[dict[str, Any]]:
        """Analyze an image that sways at 30 frames per second; after an analysis, the newest frame is next.

        Returns:
            The responses, with the time from drawing the frame to its response as `wall_ms`.
        """
        return self._page.evaluate(PLAY, [_encode_png(image), seconds])


@contextmanager
def launch_chromium(profile: Path | None = None) -> Iterator[Any]:
    """Launch a headless Chromium without a GPU; with a profile folder, files and compiled code survive its end."""
    from playwright.sync_api import sync_playwright

    options: dict[str, Any] = {"executable_path": find_chromium(), "headless": True, "args": FLAGS}
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        browser = chromium.launch_persistent_context(profile, **options) if profile else chromium.launch(**options)
        yield browser
        browser.close()


@contextmanager
def open_engine(browser: Any, *, isolated: bool = True) -> Iterator[Engine]:
    """Open the built page's engine; without `isolated` it runs on one thread.

    Raises:
        AssertionError: when the page reports an error.
    """
    with serve_page(isolated=isolated) as url, visit(browser, url) as engine:
        yield engine


@contextmanager
def visit(browser: Any, url: str) -> Iterator[Engine]:
    """Visit the page in a browser or browser context.

    Raises:
        AssertionError: when the page reports an error.
    """
    page = browser.new_page()
    errors: list[Exception] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(f"{url}/")
    yield Engine(page)
    page.close()
    assert not errors, errors


@contextmanager
def serve_page(
    *, isolated: bool = True, megabits_per_s: float = math.inf, requests: list[str] | None = None
) -> Iterator[str]:
    """Serve the page and its models with the headers of `mien serve`; yield the URL.

    Args:
        isolated: Send the headers that allow threads.
        megabits_per_s: Rate of all connections together.
        requests: Receives the path of every answered request.
    """
    from mien.server.static import HEADERS, THREAD_HEADERS

    link = threading.Lock()

    class Handler(SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            while chunk := source.read(1 << 16):
                with link:
                    time.sleep(8e-6 * len(chunk) / megabits_per_s)
                outputfile.write(chunk)

        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            if requests is not None:
                requests.append(self.path)

        def translate_path(self, path: str) -> str:
            name = path.partition("?")[0].lstrip("/")
            folder, _, rest = name.partition("/")
            if folder == "models":
                return str(ASSETS / rest)
            return str(PAGE / (f"{name}.gz" if name.endswith(".wasm") else name))

        def guess_type(self, path: Any) -> str:
            return "application/wasm" if str(path).endswith(".wasm.gz") else super().guess_type(path)

        def end_headers(self) -> None:
            for name, value in HEADERS.items():
                if isolated or name not in THREAD_HEADERS:
                    self.send_header(name, value)
            if self.path.endswith(".wasm"):
                self.send_header("Content-Encoding", "gzip")
            is_immutable = self.path.startswith("/assets/")
            self.send_header("Cache-Control", "public, max-age=31536000, immutable" if is_immutable else "no-cache")
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


def _encode_png(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode()
