"""`mien serve`: the browser page and the HTTP API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mien.errors import MissingExtraError
from mien.server.settings import ServerSettings


def serve(
    *,
    settings: Annotated[ServerSettings, Parameter(name="*")] = ServerSettings(),  # noqa: B008 - it is frozen
    write_page: Path | None = None,
) -> int:
    """Serve the page on which mien can be tried live, and the HTTP API behind it.

    It stops on Ctrl-C or SIGTERM, after it has answered what it took in. No image is stored or logged. Do not use it
    on people at work or in education: see docs/responsible-use.md.

    Args:
        settings: where to listen, what to serve, and the limits.
        write_page: write the page and the models into this new folder, for any host of static files, and end.
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
    print(
        f"{write_page}: the page and its models. Its host must send these headers, or it runs on one thread:"
    )
    for name, value in THREAD_HEADERS.items():
        print(f"  {name}: {value}")
    sys.stdout.flush()
    return 0
