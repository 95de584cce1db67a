"""Signals that stop a command or a training run."""

from __future__ import annotations

import signal

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Ctrl-C, SIGTERM, SIGHUP (Unix: the terminal was closed) and SIGBREAK (Windows)."""
