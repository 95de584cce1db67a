"""The npm package of the page's engine, packed and installed into an empty folder without a network."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "web/packages/browser"
MODULES = ROOT / "web/node_modules"
NATIVE_MODULES = ROOT / "examples/phone/node_modules"
"""The only folder with `onnxruntime-node`, which the page does not need."""
PROGRAMS = Path(__file__).parent / "npm"


def missing_requirement() -> str | None:
    """Return what is missing to pack and run the package; None when nothing is."""
    if shutil.which("npm") is None:
        return "npm is not installed"
    if not (MODULES / "onnxruntime-web").is_dir():
        return "the page's modules are not installed: npm --prefix web ci"
    return None


def install_package(folder: Path) -> Path:
    """Pack the package and install it with ONNX Runtime into an empty folder; return the folder."""
    command = ["npm", "pack", f"./{PACKAGE.relative_to(ROOT)}", "--silent", "--pack-destination", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [archive] = folder.glob("*.tgz")
    installed = folder / "node_modules/@mien/browser"
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    installed.parent.mkdir(parents=True)
    (folder / "package").rename(installed)
    for module in (MODULES / "onnxruntime-common", MODULES / "onnxruntime-web", NATIVE_MODULES / "onnxruntime-node"):
        if module.is_dir():
            (folder / "node_modules" / module.name).symlink_to(module)
    return folder


def analyze_in_node(folder: Path, images: list[np.ndarray], **options: str) -> list[dict[str, Any]]:
    """Analyze images (H, W, 3) uint8 RGB in Node.js with the package installed in a folder."""
    program = shutil.copy(PROGRAMS / "analyze.mjs", folder)
    request: dict[str, Any] = {**options, "images": []}
    for index, image in enumerate(images):
        path = folder / f"{index}.rgb"
        path.write_bytes(image.tobytes())
        request["images"].append({"path": str(path), "width": image.shape[1], "height": image.shape[0]})
    run = subprocess.run(
        ["node", program], input=json.dumps(request), cwd=folder, check=True, capture_output=True, text=True
    )
    return json.loads(run.stdout)


def build_example(folder: Path) -> Path:
    """Build the example application with Vite in a folder with the package; return the built site."""
    app = folder / "example"
    shutil.copytree(PACKAGE / "example", app, ignore=shutil.ignore_patterns("node_modules", "dist", "public"))
    shutil.copytree(folder / "node_modules/@mien/browser/models", app / "public/models")
    vite = MODULES / "vite/bin/vite.js"
    subprocess.run(["node", vite, "build", "--logLevel", "error"], cwd=app, check=True, capture_output=True)
    return app / "dist"


def script_sizes(site: Path) -> dict[str, tuple[int, int]]:
    """Return the sizes of the scripts of a built site in bytes, as they are and compressed with gzip."""
    scripts = {path.name.partition("-")[0]: path.read_bytes() for path in site.glob("assets/*.js")}
    return {name: (len(script), len(gzip.compress(script))) for name, script in scripts.items()}


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yield the URL."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
