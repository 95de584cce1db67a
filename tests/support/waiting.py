"""Polling with a deadline, in place of fixed sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], *, timeout_s: float = 20.0, interval_s: float = 0.05) -> None:
    """Return once a condition is true; fail when it is still false after a timeout."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not true within {timeout_s:g} s"
        time.sleep(interval_s)
