"""Main module of an analysis process: it analyzes the images that `mien.server.processes` sends."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from mien.errors import MienError
    from mien.inference.result import Result
    from mien.server.settings import ServerSettings


def main() -> None:
    """Receive the settings and analyze images until the server closes the input or ends."""
    # before the imports that take long: service managers send SIGTERM to all processes of a service, and the server
    # answers the accepted requests before it ends
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # what a library prints must not get between the replies
    os.dup2(2, 1)
    try:
        for reply in _replies(requests):
            pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
            replies.flush()
    except (EOFError, BrokenPipeError):
        # without closing the pipe, which would raise again
        os._exit(0)


def _replies(requests: BinaryIO) -> Iterator[Result | MienError | str | None]:
    """Load the default model and yield None, then the result of each image: or an error, or the text of a traceback."""
    from mien.errors import MienError, MienWarning
    from mien.server.logs import configure_logs
    from mien.server.model_pool import ModelPool

    # results contain them
    warnings.simplefilter("ignore", MienWarning)
    settings: ServerSettings = pickle.load(requests)
    configure_logs(settings.log_format)
    try:
        pool = ModelPool(settings)
        pool.analyzer(pool.default)
    except MienError as error:
        yield error
        return
    yield None
    while True:
        selection, image = pickle.load(requests)
        try:
            yield pool.analyze(selection, image)
        except MienError as error:
            yield error
        except Exception:
            # an exception of another package may not survive pickling
            yield traceback.format_exc()


if __name__ == "__main__":
    main()
