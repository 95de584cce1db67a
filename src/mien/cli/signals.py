"""Stop signals (Ctrl-C, SIGTERM, SIGHUP): end a command in order, with the exit code of the signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mien.stop_signals import STOP_SIGNALS


class _State:
    """Signal received by the running command, and whether it waits for the current item."""

    received: int | None = None
    is_deferred = False


@contextmanager
def catch_stop_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt in this block on every stop signal that is not ignored (as nohup ignores SIGHUP)."""
    _State.received = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process and number != signal.SIGINT:
            # a forked worker dies of the signal, as without mien
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        is_first, _State.received = _State.received is None, number
        if not (_State.is_deferred and is_first):
            raise KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    caught = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, previous[number] or signal.SIG_DFL)


@contextmanager
def deferred_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stop signal arrived; in this block only a second one interrupts.

    Such a block may be inside another one.
    """
    was_deferred = _State.is_deferred
    _State.is_deferred = True
    try:
        yield lambda: _State.received is not None
    finally:
        _State.is_deferred = was_deferred


@contextmanager
def finish_before_stop() -> Iterator[None]:
    """Complete a block before the first stop signal interrupts.

    For the loading of networks: ONNX Runtime aborts the process when its threads are interrupted while they start.
    """
    with deferred_stop() as is_stopped:
        yield
    if is_stopped():
        raise KeyboardInterrupt


def was_signaled() -> bool:
    """Return whether the running command received a stop signal."""
    return _State.received is not None


def stop_code() -> int:
    """Return the exit code of the signal received: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_State.received or signal.SIGINT)
