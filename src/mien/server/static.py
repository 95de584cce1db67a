"""Static files: the browser page and the models, and the security headers of every response."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.atomic import write_atomic
from mien.errors import InputError
from mien.manifest import manifest_path
from mien.runtime import ASSETS
from mien.server.errors import HTTPProblem
from mien.server.model_pool import ModelPool

PAGE = Path(__file__).parent / "page"
"""Folder of the built page; `npm --prefix web run build` writes it."""
PAGE_NOT_BUILT = "the page is not built; run npm --prefix web ci && npm --prefix web run build in a checkout of mien."

THREAD_HEADERS = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Headers that browsers require for WebAssembly threads."""

HEADERS = {
    **THREAD_HEADERS,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "connect-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data:; style-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


class SecurityHeaders:
    """Middleware that adds `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request and add the headers to the response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_RAW_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class _Files(StaticFiles):
    """Files whose errors are problem details."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a file or a range of it. A range in another unit than bytes is ignored (RFC 9110)."""
        sent_range = Headers(scope=scope).get("range", "")
        if not sent_range.strip().lower().startswith("bytes="):
            scope = {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]}
        is_refused = False

        async def forward(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                is_refused = True
                problem = HTTPProblem(416, "range", f"the file has no such range: {sent_range[:64]!r}.")
                response = problem.to_response()
                if size := Headers(raw=message["headers"]).get("content-range"):
                    response.headers["Content-Range"] = size
                await response(scope, receive, send)
            elif not is_refused:
                await send(message)

        await super().__call__(scope, receive, forward)


class PageFiles(_Files):
    """Files of the built page. Names in assets/ contain a content hash, so browsers may cache those files forever.

    WebAssembly is stored compressed (NAME.wasm.gz) and served as NAME.wasm with `Content-Encoding: gzip`: browsers keep
    compiled code only for files that they receive as application/wasm.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file of the page; raise a Starlette HTTPException of status 404 when it does not exist."""
        is_compressed = path.endswith(".wasm")
        file = f"{path}.gz" if is_compressed else path
        if scope["method"] not in ("GET", "HEAD") and self.lookup_path(file)[1] is None:
            # StaticFiles would answer 405
            raise HTTPException(404)
        response = await super().get_response(file, scope)
        if is_compressed:
            response.headers["Content-Type"] = "application/wasm"
            response.headers["Content-Encoding"] = "gzip"
        is_immutable = path.startswith(f"assets{os.sep}") and response.status_code < 400
        cache_control = "public, max-age=31536000, immutable" if is_immutable else "no-cache"
        response.headers["Cache-Control"] = cache_control
        return response


class ModelFiles(_Files):
    """Individual files from anywhere on the disk, given by the name under which they are served."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        super().__init__(check_dir=False)
        self._files = files

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return the path and status of a file; ("", None) when the name is unknown."""
        file = self._files.get(path)
        return (str(file), file.stat()) if file else ("", None)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a model file; browsers cache it and revalidate it on every use."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def model_files(pool: ModelPool) -> dict[str, Path]:
    """Return the files that the page loads: all models with their manifests, and the face geometry, by name."""
    shared = ("face-detector", "face-landmarks", "face-landmarks-small", "voice-activity", "voice")
    networks = [*pool.paths.values(), *(ASSETS / f"{name}.onnx" for name in shared)]
    files = [file for path in networks for file in (path, manifest_path(path))]
    return {file.name: file for file in (*files, ASSETS / "face-geometry.json")}


def model_index(pool: ModelPool) -> dict[str, object]:
    """Return the content of `models/index.json`: the names of the expression models, and the sizes of their files."""
    sizes = {name: path.stat().st_size for name, path in pool.paths.items()}
    return {"default": pool.default, "models": list(pool.paths), "size_bytes": sizes}


def write_page(folder: Path, pool: ModelPool) -> None:
    """Write the page and the models for a static file host.

    Raises:
        InputError: when the page is not built, or the folder exists and is not empty.
    """
    if not (PAGE / "index.html").is_file():
        raise InputError(PAGE_NOT_BUILT)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder.")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder.")
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    for file in folder.glob("assets/*.wasm.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    models = folder / "models"
    models.mkdir(exist_ok=True)
    for name, path in model_files(pool).items():
        shutil.copyfile(path, models / name)
    write_atomic(models / "index.json", json.dumps(model_index(pool), indent=2) + "\n")
