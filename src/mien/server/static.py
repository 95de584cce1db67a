"""The browser page and the models as static files, and the headers that let a page use threads and nothing foreign."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.atomic import write_atomic
from mien.errors import InputError
from mien.manifest import manifest_path
from mien.runtime import ASSETS
from mien.server.model_pool import ModelShelf

PAGE = Path(__file__).parent / "page"
"""The built page; `npm --prefix web run build` writes it."""
PAGE_IS_MISSING = (
    "the page is not built: npm --prefix web ci && npm --prefix web run build, in a checkout of mien."
)

THREAD_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""Without these two a browser gives WebAssembly no threads."""

HEADERS = {
    **THREAD_HEADERS,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data:; style-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SafeHeaders:
    """Middleware: every answer carries `HEADERS`.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers added."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class PageFiles(StaticFiles):
    """The built page. Vite names what is in its assets/ by content, so that browsers need never ask for it again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file of the page, or a Starlette HTTPException of status 404."""
        response = await super().get_response(path, scope)
        is_named_by_content = path.startswith(f"assets{os.sep}") and response.status_code < 400
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if is_named_by_content else "no-cache"
        )
        return response


class ModelFiles(StaticFiles):
    """A few named files, wherever they are.

    Args:
        files: paths by the name under which they are served.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        super().__init__(check_dir=False)
        self._files = files

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """The file of a name; ("", None) when there is none."""
        file = self._files.get(path)
        return (str(file), file.stat()) if file else ("", None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A model file; browsers keep it and ask whether it is still the same."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def model_files(shelf: ModelShelf) -> dict[str, Path]:
    """What the page fetches: the expression models, detector and mesh with their manifests, and the face's geometry."""
    networks = [*shelf.paths.values(), ASSETS / "face-detector.onnx", ASSETS / "face-landmarks.onnx"]
    files = [file for path in networks for file in (path, manifest_path(path))]
    return {file.name: file for file in (*files, ASSETS / "face-geometry.json")}


def model_index(shelf: ModelShelf) -> dict[str, object]:
    """`models/index.json`: which expression models there are."""
    return {"default": shelf.default, "models": list(shelf.paths)}


def write_page(folder: Path, shelf: ModelShelf) -> None:
    """Write the page and the models for any host of static files.

    Raises:
        InputError: when the page is not built, or the folder is there already and not empty.
    """
    if not (PAGE / "index.html").is_file():
        raise InputError(PAGE_IS_MISSING)
    if folder.exists() and any(_listed(folder)):
        raise InputError(f"{folder} is not empty: name a new folder.")
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    models = folder / "models"
    models.mkdir(exist_ok=True)
    for name, path in model_files(shelf).items():
        shutil.copyfile(path, models / name)
    write_atomic(models / "index.json", json.dumps(model_index(shelf), indent=2) + "\n")


def _listed(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.")
    return folder.iterdir()
