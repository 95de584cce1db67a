"""Entry point of `mien` and `python -m mien`."""

from __future__ import annotations

import os
import signal
import sys


def run() -> int:
    """Run one command. Until it handles signals itself, Ctrl-C ends the process without a traceback of its imports."""
    # a shell ignores the signal for jobs in the background
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    from mien.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
