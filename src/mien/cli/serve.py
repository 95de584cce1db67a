"""`mien serve`: browser page and HTTP API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mien.cli.options import Folder
from mien.errors import MissingExtraError
from mien.server.settings import ServerSettings


def serve(
    *,
    settings: Annotated[ServerSettings, Parameter(name="*")] = ServerSettings(),  # noqa: B008 - it is frozen
    write_page: Annotated[Path | None, Folder] = None,
) -> int:
    """Serve the browser page and the HTTP API.

    Ctrl-C or SIGTERM stops the server after the accepted requests are answered. No image is stored or logged. Do not
    use it on people at work or in education: see docs/responsible-use.md.

    Args:
        settings: address, models and limits.
        write_page: new folder for the page and its models, for any static web server; nothing is served.
    """
    try:
        from mien.server.model_pool import ModelPool
        from mien.server.run import listen
        from mien.server.static import THREAD_HEADERS
        from mien.server.static import write_page as write
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mien"):
            raise
        raise MissingExtraError("serving", "serve") from None
    if write_page is None:
        listen(settings, lambda address: print(f"mien listens on {address}", flush=True))
        return 0
    write(write_page, ModelPool(settings))
    print(f"{write_page}: page and models. Its web server must send these headers, or the page uses one thread:")
    for name, value in THREAD_HEADERS.items():
        print(f"  {name}: {value}")
    sys.stdout.flush()
    return 0
